// SPDX-License-Identifier: MIT
/*
 * The other CPUs.  The ACPI tables name them: RSDP, XSDT and in that the MADT
 * (ACPI 6.4, 5.2).  Our local APIC starts one by INIT and STARTUP: it wakes in
 * the 16-bit mode of 1978 at the start of a page below 1 MiB, where
 * smp_entry.S, copied there, brings it into 64-bit mode and to smp_main().
 *
 * It reports by raising an event channel, for which we wait.
 */
#include "smp.h"
#include "apic.h"
#include "clock.h"
#include "event.h"
#include "hcall_call.h"
#include "string.h"
#include "trap.h"

#define ENTRY_PAGE	   0x8000u /* hvrun leaves everything below 64 KiB */
#define STACK_BYTES	   4096u
#define CHANNEL		   HCALL_CHANNEL_GUEST

#define TABLE_BYTES	   36u /* the header of every table */
#define TABLE_LENGTH	   4u
#define RSDP_XSDT	   24u
#define MADT_ENTRIES	   44u
#define MADT_LOCAL_APIC	   0 /* type of an entry */
#define LOCAL_APIC_ID	   3u
#define LOCAL_APIC_FLAGS   4u
#define LOCAL_APIC_ENABLED 1u

/* smp_entry.S */
extern const uint8_t smp_entry[], smp_entry_end[];
extern uint32_t smp_page_tables;
extern uint64_t smp_stack;
void smp_main(void);

static uint8_t stacks[SMP_MAX_CPUS][STACK_BYTES] __attribute__((aligned(16)));
static void (*run_on_cpu)(uint32_t id);
static bool has_run;

/* ---- The tables -------------------------------------------------------- */

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

static bool has_signature(uint64_t at, const char *signature)
{
	return at && !memcmp((const void *)at, signature, strlen(signature));
}

static uint64_t find_madt(uint64_t rsdp)
{
	uint64_t xsdt, at;

	if (!has_signature(rsdp, "RSD PTR "))
		return 0;
	xsdt = get64(rsdp + RSDP_XSDT);
	if (!has_signature(xsdt, "XSDT"))
		return 0;
	for (at = xsdt + TABLE_BYTES; at < xsdt + get32(xsdt + TABLE_LENGTH);
	     at += sizeof(uint64_t))
		if (has_signature(get64(at), "APIC"))
			return get64(at);
	return 0;
}

/* CPUs with an ID above 254 are in entries of another type: not for us. */
unsigned int smp_list(const struct hvm_start_info *start,
		      uint8_t ids[SMP_MAX_CPUS])
{
	uint64_t madt = find_madt(start->rsdp_paddr);
	const uint8_t *entry, *end;
	unsigned int cpus = 0;

	if (!madt)
		return 0;
	entry = (const uint8_t *)(madt + MADT_ENTRIES);
	end = (const uint8_t *)(madt + get32(madt + TABLE_LENGTH));
	for (; end - entry >= 2 && entry[1] >= 2; entry += entry[1])
		if (entry[0] == MADT_LOCAL_APIC && cpus < SMP_MAX_CPUS &&
		    get32((uintptr_t)entry + LOCAL_APIC_FLAGS) &
			    LOCAL_APIC_ENABLED)
			ids[cpus++] = entry[LOCAL_APIC_ID];
	return cpus;
}

/* ---- Starting ---------------------------------------------------------- */

static void send(uint8_t id, uint32_t command)
{
	apic_write(APIC_COMMAND_TO, (uint32_t)id << 24);
	apic_write(APIC_COMMAND, command);
	while (apic_read(APIC_COMMAND) & APIC_PENDING)
		__asm__ __volatile__("pause");
}

/* Here it is an ordinary CPU.  The GDT and IDT are shared, but not loaded. */
void smp_main(void)
{
	trap_init();
	apic_enable();
	run_on_cpu(apic_id());
	__atomic_store_n(&has_run, true, __ATOMIC_RELEASE);
	hcall_event_raise(CHANNEL);
}

bool smp_run(uint8_t id, void (*run)(uint32_t id))
{
	uint64_t deadline = clock_now() + CLOCK_SECOND;
	uint64_t page_tables;

	__asm__("movq %%cr3, %0" : "=r"(page_tables));
	smp_page_tables = (uint32_t)page_tables;
	smp_stack = (uintptr_t)stacks[id] + STACK_BYTES;
	memcpy((void *)(uintptr_t)ENTRY_PAGE, smp_entry,
	       (size_t)(smp_entry_end - smp_entry));
	run_on_cpu = run;
	__atomic_store_n(&has_run, false, __ATOMIC_SEQ_CST);

	apic_enable();
	send(id, APIC_INIT);
	send(id, APIC_STARTUP | ENTRY_PAGE >> 12);
	while (!__atomic_load_n(&has_run, __ATOMIC_ACQUIRE)) {
		if (clock_now() >= deadline || event_wait(deadline))
			return false;
	}
	return true;
}
