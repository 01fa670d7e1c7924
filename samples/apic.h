/* SPDX-License-Identifier: MIT */
/*
 * The local APIC, by which a CPU gets its interrupts and starts other CPUs.
 * Each CPU sees its own at this address.
 */
#ifndef APIC_H
#define APIC_H

#include <stdint.h>

#define APIC_ADDRESS	     0xfee00000u

/* Registers. */
#define APIC_ID		     0x020u /* in the upper 8 bits */
#define APIC_EOI	     0x0b0u /* write 0: the interrupt has been served */
#define APIC_SPURIOUS	     0x0f0u
#define APIC_COMMAND	     0x300u /* write: send an interrupt to ... */
#define APIC_COMMAND_TO	     0x310u /* ... the APIC ID in the upper 8 bits */

/* APIC_SPURIOUS: on, and the vector of interrupts that were taken back. */
#define APIC_ENABLE	     0x100u
#define APIC_SPURIOUS_VECTOR 0xffu

/* APIC_COMMAND */
#define APIC_INIT	     0x04500u /* reset */
#define APIC_STARTUP	     0x04600u /* run from this page number of memory */
#define APIC_PENDING	     0x01000u /* read: it has not been sent yet */

static inline uint32_t apic_read(uint32_t reg)
{
	return *(volatile uint32_t *)(uintptr_t)(APIC_ADDRESS + reg);
}

static inline void apic_write(uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(APIC_ADDRESS + reg) = value;
}

static inline uint32_t apic_id(void)
{
	return apic_read(APIC_ID) >> 24;
}

static inline void apic_enable(void)
{
	apic_write(APIC_SPURIOUS, APIC_ENABLE | APIC_SPURIOUS_VECTOR);
}

#endif /* APIC_H */
