"""Operations as values: what each kernel must hold, and why. Pure; ``kernel`` applies them, ``shell`` prints
them.
"""
