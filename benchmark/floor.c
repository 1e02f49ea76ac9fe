/* The kernel floor: what bringing a network up costs when nothing is left but the kernel's own work.
 *
 * Reads a plan from standard input, one operation a line, fields separated by tabs, and does exactly what podwire's kernel room does with the
 * same plan: the same network namespaces (bind-mounted for ip-netns(8)), the same rtnetlink messages in the same batches, the same sysctl writes,
 * the same iptables-restore processes with the same text. Namespaces are numbered from 0 in the order of their lines, links carry the
 * interface indexes that they shall have, so nothing is looked up; parsing ends before the clock starts. Must run in a sandbox of its
 * own with an empty /run/netns. Prints the seconds of each stage and their sum as one JSON object.
 *
 *   netns    NAME
 *   sysctl   NS PATH VALUE OPTIONAL                              PATH below /proc/sys; OPTIONAL 1: where there is one
 *   bridge   NS INDEX NAME MAC
 *   veth     NS INDEX NAME MAC BRIDGE HAIRPIN  NS INDEX NAME MAC BRIDGE HAIRPIN      one end, then its peer; BRIDGE 0: no port
 *   address  NS INDEX A.B.C.D LENGTH
 *   route    NS INDEX A.B.C.D LENGTH VIA ONLINK SRC              VIA and SRC 0.0.0.0: none
 *   neighbour NS INDEX A.B.C.D MAC                               permanent
 *   reachable NS INDEX MILLISECONDS                              how long ARP entries of the link are believed
 *   rules    NS PROGRAM FILE                                     PROGRAM --noflush <FILE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIELDS 13
#define CHUNK (128 << 10) /* bytes in one send, below the default send buffer */

enum stage { NAMESPACES, BRIDGES, LINKS, ADDRESSES, RULES, STAGES };
static const char *const stage_name[STAGES] = {"namespaces", "bridges", "links", "addresses", "rules"};

struct operation {
    const struct verb *verb;
    char *field[FIELDS];
};

struct netns {
    int fd, socket;
    char *queue; /* messages that wait */
    size_t length, room;
    size_t last; /* where the last of them begins */
};

static struct netns *spaces;
static int space_count, current = -1; /* the one that this process is in */

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* --- netlink messages ------------------------------------------------------------------------------------------------------------ */

static void flush_one(struct netns *n) {
    if (!n->length)
        return;
    ((struct nlmsghdr *)(n->queue + n->last))->nlmsg_flags |= NLM_F_ACK; /* of the last only: errors come unasked */
    if (send(n->socket, n->queue, n->length, 0) < 0)
        die("send");
    n->length = 0;
    for (;;) {
        char answer[1 << 16];
        ssize_t size = recv(n->socket, answer, sizeof answer, 0);
        if (size < 0)
            die("recv");
        for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size)) {
            struct nlmsgerr *e = NLMSG_DATA(h);
            if (h->nlmsg_type != NLMSG_ERROR)
                continue;
            if (!e->error)
                return;
            errno = -e->error;
            die("the kernel refused a message");
        }
    }
}

static void flush_all(void) {
    for (int i = 0; i < space_count; i++)
        flush_one(&spaces[i]);
}

static struct nlmsghdr *begin(struct netns *n, int type, int flags, const void *body, size_t size) {
    if (n->length > CHUNK - 1024)
        flush_one(n);
    if (n->length + 1024 > n->room && !(n->queue = realloc(n->queue, n->room += 64 << 10)))
        die("realloc");
    struct nlmsghdr *h = (void *)(n->queue + n->length);
    n->last = n->length;
    *h = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(size), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};
    memcpy(NLMSG_DATA(h), body, size);
    return h;
}

static void end(struct netns *n, struct nlmsghdr *h) { n->length += NLMSG_ALIGN(h->nlmsg_len); }

static struct rtattr *attribute(struct nlmsghdr *h, int type, const void *data, size_t size) {
    struct rtattr *a = (void *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));
    a->rta_type = type;
    a->rta_len = RTA_LENGTH(size);
    if (size)
        memcpy(RTA_DATA(a), data, size);
    h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + RTA_ALIGN(a->rta_len);
    return a;
}

static void close_nest(struct nlmsghdr *h, struct rtattr *a) { a->rta_len = (char *)h + h->nlmsg_len - (char *)a; }

static void text_attribute(struct nlmsghdr *h, int type, const char *text) { attribute(h, type, text, strlen(text) + 1); }

static void mac_attribute(struct nlmsghdr *h, int type, const char *text) {
    unsigned char mac[6];
    sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5);
    attribute(h, type, mac, 6);
}

static void raise_link(struct netns *n, int index) {
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    end(n, begin(n, RTM_NEWLINK, 0, &link, sizeof link));
}

static void make_port(struct netns *n, int index, int bridge, int hairpin) {
    struct ifinfomsg link = {.ifi_index = index};
    struct nlmsghdr *h = begin(n, RTM_NEWLINK, 0, &link, sizeof link);
    attribute(h, IFLA_MASTER, &bridge, sizeof bridge);
    end(n, h);
    if (!hairpin)
        return;
    h = begin(n, RTM_NEWLINK, 0, &link, sizeof link);
    struct rtattr *info = attribute(h, IFLA_LINKINFO, 0, 0);
    text_attribute(h, IFLA_INFO_SLAVE_KIND, "bridge");
    struct rtattr *data = attribute(h, IFLA_INFO_SLAVE_DATA, 0, 0);
    attribute(h, IFLA_BRPORT_MODE, &(char){1}, 1);
    close_nest(h, data);
    close_nest(h, info);
    end(n, h);
}

static void know(struct netns *n, int index, char *mac) { /* a static entry of the bridge's forwarding database */
    struct ndmsg body = {.ndm_family = AF_BRIDGE, .ndm_ifindex = index, .ndm_state = NUD_NOARP, .ndm_flags = NTF_MASTER};
    struct nlmsghdr *h = begin(n, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
    mac_attribute(h, NDA_LLADDR, mac);
    end(n, h);
}

static struct nlmsghdr *begin_link(struct netns *n, char **f) { /* f: INDEX NAME MAC */
    struct ifinfomsg link = {.ifi_index = atoi(f[0]), .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct nlmsghdr *h = begin(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
    text_attribute(h, IFLA_IFNAME, f[1]);
    mac_attribute(h, IFLA_ADDRESS, f[2]);
    return h;
}

static void add_bridge(char **f) {
    struct netns *n = &spaces[atoi(f[1])];
    struct nlmsghdr *h = begin_link(n, f + 2);
    struct rtattr *info = attribute(h, IFLA_LINKINFO, 0, 0);
    text_attribute(h, IFLA_INFO_KIND, "bridge");
    close_nest(h, info);
    end(n, h);
}

static void one_queue(struct nlmsghdr *h) { /* else the kernel takes queues back, and waits for it */
    unsigned one = 1;
    attribute(h, IFLA_NUM_TX_QUEUES, &one, sizeof one);
    attribute(h, IFLA_NUM_RX_QUEUES, &one, sizeof one);
}

static void add_veth(char **f) { /* 1: NS INDEX NAME MAC BRIDGE HAIRPIN, 7: the same of the peer */
    struct netns *n = &spaces[atoi(f[1])], *peer = &spaces[atoi(f[7])];
    struct nlmsghdr *h = begin_link(n, f + 2);
    one_queue(h);
    struct rtattr *info = attribute(h, IFLA_LINKINFO, 0, 0);
    text_attribute(h, IFLA_INFO_KIND, "veth");
    struct rtattr *data = attribute(h, IFLA_INFO_DATA, 0, 0);
    struct ifinfomsg other = {.ifi_index = atoi(f[8])}; /* not up: in this message the kernel refuses it (ENOTCONN) */
    struct rtattr *end_of_it = attribute(h, VETH_INFO_PEER, &other, sizeof other);
    one_queue(h);
    text_attribute(h, IFLA_IFNAME, f[9]);
    mac_attribute(h, IFLA_ADDRESS, f[10]);
    attribute(h, IFLA_NET_NS_FD, &peer->fd, sizeof peer->fd);
    close_nest(h, end_of_it);
    close_nest(h, data);
    close_nest(h, info);
    end(n, h);
    if (atoi(f[5])) {
        make_port(n, atoi(f[2]), atoi(f[5]), atoi(f[6]));
        know(n, atoi(f[2]), f[10]);
    }
}

static void finish_veth(char **f) { /* the peer's half, once the pair exists */
    struct netns *peer = &spaces[atoi(f[7])];
    raise_link(peer, atoi(f[8]));
    if (atoi(f[11])) {
        make_port(peer, atoi(f[8]), atoi(f[11]), atoi(f[12]));
        know(peer, atoi(f[8]), f[4]);
    }
}

static void add_address(char **f) {
    struct netns *n = &spaces[atoi(f[1])];
    struct ifaddrmsg body = {.ifa_family = AF_INET, .ifa_prefixlen = atoi(f[4]), .ifa_index = atoi(f[2])};
    struct nlmsghdr *h = begin(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
    in_addr_t address = inet_addr(f[3]);
    attribute(h, IFA_LOCAL, &address, 4);
    attribute(h, IFA_ADDRESS, &address, 4);
    end(n, h);
}

static void add_route(char **f) {
    struct netns *n = &spaces[atoi(f[1])];
    in_addr_t dst = inet_addr(f[3]), via = inet_addr(f[5]), src = inet_addr(f[7]);
    int index = atoi(f[2]);
    struct rtmsg body = {.rtm_family = AF_INET,
                         .rtm_dst_len = atoi(f[4]),
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC,
                         .rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                         .rtm_type = RTN_UNICAST,
                         .rtm_flags = atoi(f[6]) ? RTNH_F_ONLINK : 0};
    struct nlmsghdr *h = begin(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
    if (body.rtm_dst_len)
        attribute(h, RTA_DST, &dst, 4);
    attribute(h, RTA_OIF, &index, sizeof index);
    if (via)
        attribute(h, RTA_GATEWAY, &via, 4);
    if (src)
        attribute(h, RTA_PREFSRC, &src, 4);
    end(n, h);
}

static void add_neighbour(char **f) {
    struct netns *n = &spaces[atoi(f[1])];
    struct ndmsg body = {.ndm_family = AF_INET, .ndm_ifindex = atoi(f[2]), .ndm_state = NUD_PERMANENT};
    struct nlmsghdr *h = begin(n, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
    in_addr_t address = inet_addr(f[3]);
    attribute(h, NDA_DST, &address, 4);
    mac_attribute(h, NDA_LLADDR, f[4]);
    end(n, h);
}

static void set_reachable_time(char **f) {
    struct netns *n = &spaces[atoi(f[1])];
    struct ndtmsg body = {.ndtm_family = AF_INET};
    int index = atoi(f[2]);
    __u64 milliseconds = strtoull(f[3], 0, 10);
    struct nlmsghdr *h = begin(n, RTM_SETNEIGHTBL, 0, &body, sizeof body);
    text_attribute(h, NDTA_NAME, "arp_cache");
    struct rtattr *parameters = attribute(h, NDTA_PARMS, 0, 0);
    attribute(h, NDTPA_IFINDEX, &index, sizeof index);
    attribute(h, NDTPA_BASE_REACHABLE_TIME, &milliseconds, sizeof milliseconds);
    close_nest(h, parameters);
    end(n, h);
}

/* --- everything else ------------------------------------------------------------------------------------------------------------- */

static void add_netns(char **f) {
    char path[512];
    struct netns *n = &spaces[space_count++];
    if (unshare(CLONE_NEWNET))
        die("unshare");
    n->fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/run/netns/%s", f[1]);
    close(open(path, O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    if (n->fd < 0 || mount("/proc/thread-self/ns/net", path, 0, MS_BIND, 0))
        die(path);
    n->socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (n->socket < 0)
        die("socket");
    current = space_count - 1;
    raise_link(n, 1);
}

static void enter(int space) {
    if (current != space && setns(spaces[space].fd, CLONE_NEWNET))
        die("setns");
    current = space;
}

static void set_sysctl(char **f) {
    char path[512];
    snprintf(path, sizeof path, "/proc/sys/%s", f[2]);
    enter(atoi(f[1]));
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && f[4][0] == '1')
        return;
    if (fd < 0 || write(fd, f[3], strlen(f[3])) < 0)
        die(path);
    close(fd);
}

static void wait_for_rules(void) {
    int status;
    if (wait(&status) < 0 || status) {
        fprintf(stderr, "floor: loading rules failed\n");
        exit(1);
    }
}

static void load_rules(char **f) {
    enter(atoi(f[1]));
    pid_t child = vfork();
    if (child < 0)
        die("vfork");
    if (!child) {
        int fd = open(f[3], O_RDONLY);
        dup2(fd, 0);
        execlp(f[2], f[2], "--noflush", (char *)0);
        _exit(127);
    }
}

static int width, running; /* rule loaders at once */

static void load_next_rules(char **f) {
    if (running == width)
        wait_for_rules();
    else
        running++;
    load_rules(f);
}

static const struct verb {
    const char *name;
    enum stage stage;
    void (*apply)(char **fields);
} verbs[] = {
    {"netns", NAMESPACES, add_netns},     {"sysctl", NAMESPACES, set_sysctl}, {"bridge", BRIDGES, add_bridge},
    {"veth", LINKS, add_veth},            {"address", ADDRESSES, add_address}, {"route", ADDRESSES, add_route},
    {"neighbour", ADDRESSES, add_neighbour}, {"reachable", ADDRESSES, set_reachable_time}, {"rules", RULES, load_next_rules},
};

static const struct verb *find_verb(const char *name) {
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    fprintf(stderr, "floor: unknown operation %s\n", name);
    exit(1);
}

int main(void) {
    size_t count = 0, room = 0, size = 0;
    struct operation *plan = 0;
    char *line = 0;
    while (getline(&line, &size, stdin) > 0) {
        if (count == room && !(plan = realloc(plan, (room += 4096) * sizeof *plan)))
            die("realloc");
        struct operation *op = &plan[count++];
        char *rest = strdup(line);
        rest[strcspn(rest, "\n")] = 0;
        for (int i = 0; i < FIELDS; i++)
            op->field[i] = strsep(&rest, "\t");
        op->verb = find_verb(op->field[0]);
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    spaces = calloc(count, sizeof *spaces);

    width = sysconf(_SC_NPROCESSORS_ONLN) + 1;
    double start = now(), before = start, seconds[STAGES] = {0};
    for (size_t i = 0; i < count;) {
        enum stage stage = plan[i].verb->stage;
        size_t first = i;
        for (; i < count && plan[i].verb->stage == stage; i++)
            plan[i].verb->apply(plan[i].field);
        flush_all();
        if (stage == LINKS) {
            for (size_t k = first; k < i; k++)
                finish_veth(plan[k].field);
            flush_all();
        }
        for (; running; running--)
            wait_for_rules();
        double t = now();
        seconds[stage] += t - before;
        before = t;
    }
    printf("{");
    for (enum stage stage = 0; stage < STAGES; stage++)
        printf("\"%s\": %.6f, ", stage_name[stage], seconds[stage]);
    printf("\"seconds\": %.6f}\n", before - start);
    return 0;
}
