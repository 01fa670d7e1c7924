/* SPDX-License-Identifier: MIT */
/* Exceptions of the CPU, and interrupts. */
#ifndef TRAP_H
#define TRAP_H

#include <stdint.h>

/*
 * From now on an exception on this CPU prints the registers and stops the VM.
 * With it comes a GDT: 64-bit code is 0x08, data is 0x10.
 */
void trap_init(void);

/* Lets interrupt @vector, 32 or more, go to @entry, which ends with IRETQ. */
void trap_set(uint8_t vector, const void *entry);

#endif /* TRAP_H */
