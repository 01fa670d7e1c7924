// SPDX-License-Identifier: GPL-2.0
/*
 * The other CPUs, found and started as on any PC: RSDP, XSDT, MADT, then INIT
 * and SIPI by the local APIC.  The samples' smp_entry.S is where they arrive.
 */
#include <stdbool.h>

#include "guest-smp.h"
#include "string.h"

#define TRAMPOLINE	   0x8000u /* below what hvrun has put into low memory */
#define STACK_BYTES	   16384u

#define APIC_ID		   0x20
#define APIC_SPURIOUS	   0xf0
#define APIC_ICR_LOW	   0x300
#define APIC_ICR_HIGH	   0x310
#define APIC_ENABLE	   0x1ffu
#define APIC_PENDING	   0x1000u
#define APIC_INIT	   0x4500u
#define APIC_SIPI	   0x4600u

#define MADT_LAPIC	   0
#define MADT_IOAPIC	   1
#define MADT_FIRST_ENTRY   44
#define LAPIC_ENABLED	   1u
#define TABLE_FIRST_ENTRY  36
#define RSDP_ACPI1_BYTES   20
#define RSDP_XSDT	   24
#define RSDP_LENGTH_OFFSET 20

/* smp_entry.S */
extern const uint8_t smp_entry[], smp_entry_end[];
extern uint32_t smp_page_tables;
extern uint64_t smp_stack;
void smp_main(void);

static uint8_t stacks[MAX_CPUS][STACK_BYTES] __attribute__((aligned(16)));
static volatile uint8_t *apic;
static void (*ap_run)(uint32_t id);
static unsigned int started, arrived, ended;

static uint32_t get32(uint64_t at)
{
	uint32_t value;

	memcpy(&value, (const void *)at, sizeof(value));
	return value;
}

static uint64_t get64(uint64_t at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static bool sums_to_zero(uint64_t at, uint32_t bytes)
{
	const uint8_t *p = (const uint8_t *)at;
	uint8_t sum = 0;

	while (bytes--)
		sum += *p++;
	return !sum;
}

static bool is_table(uint64_t at, const char *signature)
{
	return !memcmp((const void *)at, signature, 4) &&
	       get32(at + 4) >= TABLE_FIRST_ENTRY &&
	       sums_to_zero(at, get32(at + 4));
}

static uint64_t find_madt(uint64_t rsdp, const char **why)
{
	uint64_t xsdt, entry;

	*why = "RSDP";
	if (!rsdp || memcmp((const void *)rsdp, "RSD PTR ", 8) ||
	    !sums_to_zero(rsdp, RSDP_ACPI1_BYTES) ||
	    !sums_to_zero(rsdp, get32(rsdp + RSDP_LENGTH_OFFSET)))
		return 0;
	xsdt = get64(rsdp + RSDP_XSDT);
	*why = "XSDT";
	if (!is_table(xsdt, "XSDT"))
		return 0;
	*why = "MADT";
	for (entry = xsdt + TABLE_FIRST_ENTRY; entry < xsdt + get32(xsdt + 4);
	     entry += 8)
		if (is_table(get64(entry), "APIC"))
			return get64(entry);
	return 0;
}

static uint32_t apic_read(uint32_t reg)
{
	return *(volatile uint32_t *)(apic + reg);
}

static void apic_write(uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(apic + reg) = value;
}

static void send(uint32_t id, uint32_t command)
{
	apic_write(APIC_ICR_HIGH, id << 24);
	apic_write(APIC_ICR_LOW, command);
	while (apic_read(APIC_ICR_LOW) & APIC_PENDING)
		__asm__ __volatile__("pause");
}

uint32_t smp_id(void)
{
	return apic_read(APIC_ID) >> 24;
}

/* In C from here on: the CPU has a stack. */
void smp_main(void)
{
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	ap_run(smp_id());
	__atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST);
}

static void wait_for(const unsigned int *count, unsigned int wanted)
{
	while (__atomic_load_n(count, __ATOMIC_SEQ_CST) < wanted)
		__asm__ __volatile__("pause");
}

void smp_wait(void)
{
	wait_for(&ended, started);
}

unsigned int smp_start(const struct hvm_start_info *start,
		       void (*run)(uint32_t id), const char **why)
{
	uint64_t madt = find_madt(start->rsdp_paddr, why);
	uint32_t ids[MAX_CPUS];
	unsigned int cpus = 0, io_apics = 0, sent = 0, i;
	uint64_t at, cr3;

	if (!madt)
		return 0;
	apic = (volatile uint8_t *)(uint64_t)get32(madt + TABLE_FIRST_ENTRY);
	*why = "MADT entry";
	for (at = madt + MADT_FIRST_ENTRY; at < madt + get32(madt + 4);
	     at += ((const uint8_t *)at)[1]) {
		const uint8_t *entry = (const uint8_t *)at;

		if (entry[1] < 2)
			return 0;
		io_apics += entry[0] == MADT_IOAPIC;
		if (entry[0] != MADT_LAPIC || !(get32(at + 4) & LAPIC_ENABLED))
			continue;
		if (cpus == MAX_CPUS)
			return 0;
		ids[cpus++] = entry[3];
	}
	*why = "number of I/O APICs";
	if (io_apics != 1)
		return 0;

	ap_run = run;
	__asm__("movq %%cr3, %0" : "=r"(cr3));
	smp_page_tables = (uint32_t)cr3;
	apic_write(APIC_SPURIOUS, APIC_ENABLE);
	started = cpus - 1;
	for (i = 0; i < cpus; i++) {
		if (ids[i] == smp_id())
			continue;
		/* One at a time: each finds its stack in the copy. */
		smp_stack = (uint64_t)stacks[i] + STACK_BYTES;
		memcpy((void *)TRAMPOLINE, smp_entry,
		       (size_t)(smp_entry_end - smp_entry));
		send(ids[i], APIC_INIT);
		send(ids[i], APIC_SIPI | TRAMPOLINE >> 12);
		wait_for(&arrived, ++sent);
	}
	return cpus;
}
