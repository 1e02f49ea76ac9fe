/* ptrace() for user-mode Linux on processors with more extended state than it knows (AMX). scripts/uml preloads it there.
 *
 * Linux takes PTRACE_SETREGSET with NT_X86_XSTATE only at the full size of the processor's state, and answers EFAULT to less
 * (xstateregs_set() in arch/x86/kernel/fpu/regset.c). User-mode Linux 6.1 always hands over 2,696 bytes, the size without AMX.
 * Such a call gets the rest here: state components that the caller's buffer does not hold are set to their initial values.
 * Every other call goes on as it is.
 *
 * One thread of user-mode Linux makes these calls, so the buffer is static. It cannot be on the stack, which is small there. */

#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { XSTATE_BV = 512, HEADER_END = 576, XSTATE_LEAF = 0xd, FIRST_EXTENDED = 2, COMPONENTS = 63 };

static long (*next_ptrace)(int, ...);
static unsigned char full_state[1 << 16] __attribute__((aligned(64)));
static size_t full_size;       /* what the kernel takes; 0: not asked yet */
static size_t known_size;      /* the caller's size that known_components is for */
static uint64_t known_components;

__attribute__((constructor)) static void find_next(void) { next_ptrace = (long (*)(int, ...))dlsym(RTLD_NEXT, "ptrace"); }

/* Asks the kernel for all of the stopped process's state: how much it gives is how much it takes. */
static size_t ask_full_size(long pid) {
  struct iovec all = {full_state, sizeof full_state};
  return next_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &all) == 0 ? all.iov_len : 0;
}

/* Returns the bits of XSTATE_BV of those components that lie within the first `size` bytes. */
static uint64_t components_within(size_t size) {
  uint64_t bits = (1 << FIRST_EXTENDED) - 1; /* x87 and SSE: before the header */
  for (unsigned component = FIRST_EXTENDED; component < COMPONENTS; component++) {
    unsigned length, offset, c, d;
    if (__get_cpuid_count(XSTATE_LEAF, component, &length, &offset, &c, &d) && length && offset && offset + length <= size)
      bits |= UINT64_C(1) << component;
  }
  return bits;
}

long ptrace(enum __ptrace_request request, ...) {
  va_list arguments;
  va_start(arguments, request);
  long pid = va_arg(arguments, long);
  void *address = va_arg(arguments, void *);
  void *data = va_arg(arguments, void *);
  va_end(arguments);

  struct iovec *given = data;
  if (request != PTRACE_SETREGSET || (uintptr_t)address != NT_X86_XSTATE || given->iov_len < HEADER_END)
    return next_ptrace(request, pid, address, data);
  if (full_size == 0)
    full_size = ask_full_size(pid);
  if (full_size <= given->iov_len)
    return next_ptrace(request, pid, address, data);

  if (known_size != given->iov_len) {
    known_components = components_within(given->iov_len);
    known_size = given->iov_len;
  }
  uint64_t present;
  memcpy(full_state, given->iov_base, given->iov_len);
  memset(full_state + given->iov_len, 0, full_size - given->iov_len);
  memcpy(&present, full_state + XSTATE_BV, sizeof present);
  present &= known_components;
  memcpy(full_state + XSTATE_BV, &present, sizeof present);
  struct iovec full = {full_state, full_size};
  return next_ptrace(request, pid, address, &full);
}
