// SPDX-License-Identifier: MIT
/*
 * Exceptions.  Without an IDT any of them is a triple fault, which says
 * nothing; with this one the VM ends with a report, and with 128 + vector as
 * the launcher's exit status.
 */
#include "trap.h"
#include "console.h"
#include "hcall_call.h"

#define EXCEPTIONS  32
#define ENTRY_BYTES 16

/* As pushed by the CPU, from @error up, and by trap_entry.S. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t stack;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

/* The operand of LGDT and LIDT. */
struct __attribute__((packed)) table {
	uint16_t limit;
	uint64_t base;
};

extern const uint8_t trap_entries[EXCEPTIONS][ENTRY_BYTES];
void trap_load(const struct table *gdt, const struct table *idt);
void trap(const struct trap_frame *frame);

static const uint64_t gdt[] = {
	0, 0x00af9b000000ffff, /* 0x08: 64-bit code */
	0x00cf93000000ffff, /* 0x10: data */
};

static struct gate idt[256];

void trap_set(uint8_t vector, const void *entry)
{
	uint64_t address = (uintptr_t)entry;

	idt[vector] = (struct gate){
		.offset_low = (uint16_t)address,
		.offset_middle = (uint16_t)(address >> 16),
		.offset_high = (uint32_t)(address >> 32),
		.selector = 0x08,
		.type = 0x8e, /* present, interrupt gate */
	};
}

void trap_init(void)
{
	struct table gdt_table = { sizeof(gdt) - 1, (uintptr_t)gdt };
	struct table idt_table = { sizeof(idt) - 1, (uintptr_t)idt };
	uint8_t vector;

	for (vector = 0; vector < EXCEPTIONS; vector++)
		trap_set(vector, trap_entries[vector]);
	trap_load(&gdt_table, &idt_table);
}

void trap(const struct trap_frame *frame)
{
	static int in_trap;
	uint64_t cr2;

	if (!in_trap++) { /* an exception in here would never end */
		__asm__ __volatile__("movq %%cr2, %0" : "=r"(cr2));
		print("\nCPU exception %lu, error code 0x%lx\n", frame->vector,
		      frame->error);
		print("rip %016lx  rsp %016lx  rflags %08lx  cr2 %016lx\n",
		      frame->rip, frame->rsp, frame->rflags, cr2);
		print("rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n",
		      frame->rax, frame->rbx, frame->rcx, frame->rdx);
		print("rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx\n",
		      frame->rsi, frame->rdi, frame->rbp, frame->r8);
		print("r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx\n",
		      frame->r9, frame->r10, frame->r11, frame->r12);
		print("r13 %016lx  r14 %016lx  r15 %016lx\n", frame->r13,
		      frame->r14, frame->r15);
	}
	hcall_exit(HCALL_EXIT_PANIC, 128 + (uint32_t)frame->vector);

	for (;;)
		__asm__ __volatile__("hlt");
}
