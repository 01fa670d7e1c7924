/* SPDX-License-Identifier: MIT */
/* Exceptions of the CPU. */
#ifndef TRAP_H
#define TRAP_H

/* From now on an exception prints the registers and stops the VM. */
void trap_init(void);

#endif /* TRAP_H */
