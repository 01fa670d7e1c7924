// SPDX-License-Identifier: MIT
/*
 * tasks: a preemptive kernel.  Two tasks count and never let go of the CPU; a
 * timer of the host interrupts them every 10 ms and gives it to the other.
 *
 * The way of an interrupt: the timer's time has come; its channel becomes
 * pending; because the channel is routed to a vector of this CPU's local APIC,
 * the CPU pushes where it is and goes to tick_entry, whatever it was doing.
 */
#include "apic.h"
#include "console.h"
#include "hcall_call.h"
#include "trap.h"

#define TIMER	    0
#define CHANNEL	    (HCALL_CHANNEL_TIMER + TIMER)
#define PERIOD_NS   10000000u
#define VECTOR	    0x20 /* the first after the exceptions */

#define TASKS	    2
#define TURNS	    50 /* of each task */
#define STACK_BYTES 4096

/* What lies on top of a task's stack while it does not run. */
struct context {
	uint64_t registers[15]; /* pushed by tick_entry */
	uint64_t rip, cs, rflags, rsp, ss; /* pushed by the CPU */
};

struct task {
	struct context *context; /* in the stack */
	volatile uint64_t count;
	uint64_t count_before; /* when its turn began */
	unsigned int turns; /* those in which it got further */
	uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
};

static struct task tasks[TASKS];
static unsigned int current, ticks;
static uint64_t expired;
static struct hcall_event_page events __attribute__((aligned(256)));

struct context *tick(struct context *context);
extern const uint8_t tick_entry[], ignore_entry[];
__attribute__((noreturn)) void resume(struct context *context);

/*
 * All registers go onto the stack of the task that was interrupted; then this
 * becomes the stack of the one that tick() chooses, whose registers come back.
 */
__asm__("	.text\n"
	"tick_entry:\n"
	"	pushq	%rax; pushq %rbx; pushq %rcx; pushq %rdx\n"
	"	pushq	%rsi; pushq %rdi; pushq %rbp\n"
	"	pushq	%r8;  pushq %r9;  pushq %r10; pushq %r11\n"
	"	pushq	%r12; pushq %r13; pushq %r14; pushq %r15\n"
	"	cld\n"
	"	movq	%rsp, %rdi\n"
	"	call	tick\n"
	"	movq	%rax, %rdi\n"
	"resume:\n"
	"	movq	%rdi, %rsp\n"
	"	popq	%r15; popq %r14; popq %r13; popq %r12\n"
	"	popq	%r11; popq %r10; popq %r9;  popq %r8\n"
	"	popq	%rbp; popq %rdi; popq %rsi\n"
	"	popq	%rdx; popq %rcx; popq %rbx; popq %rax\n"
	"ignore_entry:\n"
	"	iretq\n");

__attribute__((noreturn)) static void off(uint32_t status)
{
	hcall_exit(HCALL_EXIT_OFF, status);
	for (;;) /* only where nobody answers calls */
		__asm__ __volatile__("hlt");
}

/* Both have had their turns: did they get on? */
__attribute__((noreturn)) static void finish(void)
{
	uint32_t status = 0;
	unsigned int i;

	print("\n%u interrupts in %lu periods\n", ticks, expired);
	for (i = 0; i < TASKS; i++) {
		print("task %u counted to %lu, further in %u of %u turns\n", i,
		      tasks[i].count, tasks[i].turns, TURNS);
		if (tasks[i].turns < TURNS / 2) /* a slow host is no mistake */
			status = 1;
	}
	off(status);
}

/* The interrupt, with others off: returns whose turn it is now. */
struct context *tick(struct context *context)
{
	struct task *task = &tasks[current];

	/* First clear the bit, then look: what comes later fires again. */
	hcall_event_take(&events, CHANNEL);
	expired += (uint64_t)hcall_timer_expired(TIMER);
	apic_write(APIC_EOI, 0);

	print("%u", current);
	task->context = context;
	task->turns += task->count != task->count_before;
	if (++ticks == TASKS * TURNS)
		finish();

	current = (current + 1) % TASKS;
	task = &tasks[current];
	task->count_before = task->count;
	return task->context;
}

static void count(void)
{
	struct task *me = &tasks[current]; /* as we run, it is our turn */

	for (;;)
		me->count++;
}

/* Makes a stack look as if the task had just been interrupted at its start. */
static void create(struct task *task)
{
	uint8_t *top = task->stack + STACK_BYTES;

	task->context = (struct context *)top - 1;
	*task->context = (struct context){
		.rip = (uintptr_t)count,
		.cs = 0x08,
		.rflags = 0x202, /* interrupts on */
		.rsp = (uintptr_t)top - 8, /* as after a call */
		.ss = 0x10,
	};
}

static void check(const char *call, int64_t result)
{
	if (result >= 0)
		return;
	print("tasks: %s: error %u\n", call, (unsigned int)-result);
	off(1);
}

void _start(void)
{
	int64_t now = hcall_timer_now(HCALL_CLOCK_MONOTONIC);
	unsigned int i;

	trap_init();
	trap_set(VECTOR, tick_entry);
	trap_set(APIC_SPURIOUS_VECTOR, ignore_entry);
	apic_enable();
	for (i = 0; i < TASKS; i++)
		create(&tasks[i]);

	check("NOW", now);
	check("PAGE", hcall_event_page((uintptr_t)&events));
	check("ROUTE", hcall_event_route(CHANNEL, apic_id(), VECTOR, 0));
	check("ARM", hcall_timer_arm(TIMER, (uint64_t)now + PERIOD_NS,
				     PERIOD_NS, HCALL_CLOCK_MONOTONIC));
	resume(tasks[0].context);
}
