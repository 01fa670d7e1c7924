/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of guest-all share. */
#ifndef GUEST_ALL_H
#define GUEST_ALL_H

#include <stdint.h>

#include "start_info.h"

#define WRONG 100 /* exit code: what we saw is not what has to be */

extern const struct hvm_start_info *start_info;

__attribute__((noreturn)) void off(uint32_t code);

/* Starts all CPUs, or says what is wrong with the ACPI tables and is off. */
unsigned int start_cpus(void (*run)(uint32_t id));

/* Commands; see the table in guest-all.c. */
void do_arp(const uint64_t *n);
void do_events(const uint64_t *n);
void do_frames(const uint64_t *n);
void do_inputs(const uint64_t *n);
void do_irq(const uint64_t *n);
void do_lights(const uint64_t *n);
void do_links(const uint64_t *n);
void do_nets(const uint64_t *n);
void do_routes(const uint64_t *n);
void do_udp(const uint64_t *n);

#endif /* GUEST_ALL_H */
