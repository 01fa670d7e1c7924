/* SPDX-License-Identifier: MIT */
/* The other CPUs: how many there are, and how to start them. */
#ifndef SMP_H
#define SMP_H

#include <stdbool.h>
#include <stdint.h>

#include "start_info.h"

#define SMP_MAX_CPUS 256 /* as many as there are APIC IDs of 8 bits */

/*
 * Reads the APIC IDs of all CPUs, ours too, from the ACPI tables.
 *
 * Return: how many there are, at most SMP_MAX_CPUS; 0: no sound table.
 */
unsigned int smp_list(const struct hvm_start_info *start,
		      uint8_t ids[SMP_MAX_CPUS]);

/*
 * Starts CPU @id, or starts it again.  It calls @run, which gets the APIC ID
 * that it has by its own account, on a stack of its own; then it halts.
 *
 * Return: did it come that far within a second?
 */
bool smp_run(uint8_t id, void (*run)(uint32_t id));

#endif /* SMP_H */
