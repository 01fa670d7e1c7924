// SPDX-License-Identifier: GPL-2.0
/* guest-all's commands for input devices and interrupts. */
#include "apic.h"
#include "console.h"
#include "guest-all.h"
#include "guest-smp.h"
#include "hcall_call.h"
#include "string.h"
#include "trap.h"

/* ---- Input: always the first device -------------------------------------- */

#define INPUT	 0
#define EV_KEY	 1
#define EV_ABS	 3
#define EV_LED	 17
#define ABS_X	 0
#define LED_CAPS 1

static void sleep_ms(uint64_t ms)
{
	uint64_t end =
		(uint64_t)hcall_timer_now(HCALL_CLOCK_MONOTONIC) + ms * 1000000;

	while ((uint64_t)hcall_timer_now(HCALL_CLOCK_MONOTONIC) < end)
		hcall_event_wait(end, HCALL_WAIT_DEADLINE);
}

static uint32_t count_codes(uint32_t unit, uint32_t type)
{
	uint8_t bits[128];
	int64_t bytes = hcall_input_config(
		unit, HCALL_INPUT_SELECT(HCALL_INPUT_CODES, type),
		(uintptr_t)bits, sizeof(bits));
	uint32_t count = 0;
	int64_t i;

	for (i = 0; i < bytes * 8; i++)
		count += bits[i / 8] >> i % 8 & 1;
	return count;
}

void do_inputs(const uint64_t *n)
{
	struct hcall_input_axis x;
	struct hcall_input_ids ids;
	struct hcall_device dev;
	char text[128];
	uint32_t i, count = 0;

	(void)n;
	for (i = 0; hcall_device(i, (uintptr_t)&dev, sizeof(dev)) > 0; i++) {
		if (dev.class_id != HCALL_CLASS_INPUT)
			continue;
		memset(text, 0, sizeof(text));
		memset(&x, 0, sizeof(x));
		if (hcall_input_config(dev.unit,
				       HCALL_INPUT_SELECT(HCALL_INPUT_NAME, 0),
				       (uintptr_t)text, sizeof(text) - 1) < 0 ||
		    hcall_input_config(dev.unit,
				       HCALL_INPUT_SELECT(HCALL_INPUT_IDS, 0),
				       (uintptr_t)&ids, sizeof(ids)) < 0 ||
		    hcall_input_config(
			    dev.unit,
			    HCALL_INPUT_SELECT(HCALL_INPUT_AXIS, ABS_X),
			    (uintptr_t)&x, sizeof(x)) < 0)
			off(WRONG);
		print("%u %s '%s' %x:%x:%x:%x keys %u axes %u (%u to %u) lights %u\n",
		      dev.unit, dev.name, text, ids.bustype, ids.vendor,
		      ids.product, ids.version, count_codes(dev.unit, EV_KEY),
		      count_codes(dev.unit, EV_ABS), (uint32_t)x.min,
		      (uint32_t)x.max, count_codes(dev.unit, EV_LED));
		count++;
	}
	off(count);
}

/* After n[0] ms, each event, until key n[1] has been released. */
void do_events(const uint64_t *n)
{
	struct hcall_input_event events[HCALL_INPUT_MAX_EVENTS];
	int64_t count, i;

	print("ready\n");
	sleep_ms(n[0]);
	for (;;) {
		count = hcall_input_read(INPUT, (uintptr_t)events,
					 HCALL_INPUT_MAX_EVENTS, 0);
		if (count == -HCALL_EAGAIN || count == -HCALL_EINTR)
			continue;
		if (count < 0)
			off((uint32_t)-count);
		for (i = 0; i < count; i++) {
			print("%u %u %u\n", events[i].type, events[i].code,
			      events[i].value);
			if (events[i].type == EV_KEY &&
			    events[i].code == n[1] && !events[i].value)
				off(0);
		}
	}
}

/* The error of setting the Caps Lock light, as exit code. */
void do_lights(const uint64_t *n)
{
	struct hcall_input_event events[] = { { EV_LED, LED_CAPS, 1 },
					      { 0, 0, 0 } };
	int64_t count = hcall_input_write(INPUT, (uintptr_t)events, 2);

	(void)n;
	off(count < 0 ? (uint32_t)-count : count == 2 ? 0 : WRONG);
}

/* ---- Interrupts ---------------------------------------------------------- */

#define FIRST_VECTOR 0x40
#define VECTORS	     8
#define PIC_VECTOR   (FIRST_VECTOR + 6) /* as the PIC's line 6 */
#define PIC_LINE     6
#define IOAPIC_LINE  20
#define IOAPIC	     0xfec00000u
#define APIC_LINT0   0x350u
#define APIC_EXTINT  0x700u
#define CHANNEL	     HCALL_CHANNEL_GUEST

struct interrupt_frame;
static uint32_t counts[VECTORS][2]; /* of the first two CPUs */
static uint32_t wrong;
static struct hcall_event_page page __attribute__((aligned(256)));
static unsigned int is_up;

static void count(uint32_t vector)
{
	__atomic_fetch_add(&counts[vector - FIRST_VECTOR][apic_id() & 1], 1,
			   __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}

#define HANDLER(i)                                          \
	__attribute__((interrupt)) static void handler_##i( \
		struct interrupt_frame *frame)              \
	{                                                   \
		(void)frame;                                \
		count(FIRST_VECTOR + (i));                  \
	}

HANDLER(0)
HANDLER(1)
HANDLER(2)
HANDLER(3)

static void out(uint16_t port, uint8_t value)
{
	__asm__ __volatile__("outb %0, %1" : : "a"(value), "Nd"(port));
}

/* The PIC wants its own end of interrupt, and nobody else's. */
__attribute__((interrupt)) static void
pic_handler(struct interrupt_frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&counts[PIC_VECTOR - FIRST_VECTOR][0], 1,
			   __ATOMIC_SEQ_CST);
	out(0x20, 0x20);
}

static void set_up_cpu(void)
{
	trap_init();
	apic_enable();
	__asm__ __volatile__("sti");
}

static void set_up_vectors(void)
{
	trap_set(FIRST_VECTOR, handler_0);
	trap_set(FIRST_VECTOR + 1, handler_1);
	trap_set(FIRST_VECTOR + 2, handler_2);
	trap_set(FIRST_VECTOR + 3, handler_3);
	trap_set(PIC_VECTOR, pic_handler);
}

static void set_up_lines(void)
{
	volatile uint32_t *ioapic = (volatile uint32_t *)(uintptr_t)IOAPIC;

	ioapic[0] = 0x10 + 2 * IOAPIC_LINE + 1;
	ioapic[4] = 0; /* to CPU 0 */
	ioapic[0] = 0x10 + 2 * IOAPIC_LINE;
	ioapic[4] = FIRST_VECTOR + 2;

	out(0x20, 0x11);
	out(0x21, FIRST_VECTOR);
	out(0x21, 4);
	out(0x21, 1);
	out(0x21, (uint8_t) ~(1 << PIC_LINE));
	apic_write(APIC_LINT0, APIC_EXTINT);
}

/* Raise @channel, and see exactly one more of @vector on @cpu. */
static void expect_irq(const char *what, uint32_t channel, uint32_t vector,
		       uint32_t cpu)
{
	uint32_t before[VECTORS][2], i, n;

	memcpy(before, counts, sizeof(before));
	before[vector - FIRST_VECTOR][cpu]++;
	if (hcall_event_raise(channel))
		off(WRONG);
	for (n = 0; n < 500 && memcmp(before, counts, sizeof(before)); n++)
		sleep_ms(1);
	sleep_ms(2); /* for one too many */
	for (i = 0; i < VECTORS * 2; i++)
		if (before[i / 2][i % 2] != counts[i / 2][i % 2]) {
			print("%s: vector %x on CPU %u came %u times, not %u\n",
			      what, FIRST_VECTOR + i / 2, i % 2,
			      counts[i / 2][i % 2], before[i / 2][i % 2]);
			wrong++;
		}
	if (!hcall_event_take(&page, channel))
		off(WRONG + 1);
}

static void expect_route(int64_t want, uint32_t channel, uint32_t vcpu,
			 uint32_t vector, uint32_t flags)
{
	int64_t got = hcall_event_route(channel, vcpu, vector, flags);

	if (got == want)
		return;
	print("ROUTE %u %x %x %u says %u\n", channel, vcpu, vector, flags,
	      (uint32_t)-got);
	wrong++;
}

static void await_irqs(uint32_t id)
{
	(void)id;
	set_up_cpu();
	__atomic_store_n(&is_up, 1, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ __volatile__("hlt");
}

/* With two CPUs: each kind of interrupt, and what ROUTE refuses. */
void do_irq(const uint64_t *n)
{
	uint32_t i;

	(void)n;
	set_up_vectors();
	if (start_cpus(await_irqs) != 2)
		off(WRONG);
	while (!__atomic_load_n(&is_up, __ATOMIC_SEQ_CST))
		__asm__ __volatile__("pause");
	set_up_cpu();
	set_up_lines();
	if (hcall_event_page((uintptr_t)&page))
		off(WRONG + 2);

	expect_route(0, CHANNEL, 0, FIRST_VECTOR, 0);
	expect_irq("message", CHANNEL, FIRST_VECTOR, 0);
	expect_route(0, CHANNEL + 1, 1, FIRST_VECTOR + 1, 0);
	expect_irq("to the other CPU", CHANNEL + 1, FIRST_VECTOR + 1, 1);
	expect_route(0, CHANNEL + 2, 0, FIRST_VECTOR, 0);
	expect_irq("shared", CHANNEL + 2, FIRST_VECTOR, 0);
	expect_irq("sharing", CHANNEL, FIRST_VECTOR, 0);
	expect_route(0, CHANNEL + 3, HCALL_VCPU_ANY, IOAPIC_LINE,
		     HCALL_ROUTE_LINE);
	expect_irq("I/O APIC", CHANNEL + 3, FIRST_VECTOR + 2, 0);
	expect_route(0, CHANNEL + 4, 0, PIC_LINE, HCALL_ROUTE_LINE);
	expect_irq("PIC", CHANNEL + 4, PIC_VECTOR, 0);
	expect_route(0, CHANNEL, 0, FIRST_VECTOR + 3, 0);
	expect_irq("new vector", CHANNEL, FIRST_VECTOR + 3, 0);
	expect_irq("the one left", CHANNEL + 2, FIRST_VECTOR, 0);

	expect_route(-HCALL_ENODEV, CHANNEL, 2, FIRST_VECTOR, 0);
	expect_route(-HCALL_EINVAL, CHANNEL, HCALL_VCPU_ANY, FIRST_VECTOR, 0);
	expect_route(-HCALL_EINVAL, CHANNEL, 0, 15, 0);
	expect_route(-HCALL_EINVAL, CHANNEL, 0, 24, HCALL_ROUTE_LINE);
	expect_route(-HCALL_EINVAL, HCALL_CHANNELS, 0, FIRST_VECTOR, 0);
	expect_irq("after refusals", CHANNEL, FIRST_VECTOR + 3, 0);

	/* Many at once, and the same again and again: nothing runs out. */
	for (i = 0; i < 200; i++)
		expect_route(0, CHANNEL + 100 + i, i % 2, 20 + i, 0);
	for (i = 0; i < 1300; i++)
		expect_route(0, CHANNEL + 400, 1, 32 + i % 200, 0);
	expect_irq("after many", CHANNEL + 1, FIRST_VECTOR + 1, 1);
	off(wrong ? WRONG : 0);
}

static void route_often(uint32_t id)
{
	uint32_t i;

	for (i = 0; i < 100; i++)
		if (hcall_event_route(CHANNEL + id, id, 32 + (i + id) % 64, 0))
			__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
}

/* All CPUs at once. */
void do_routes(const uint64_t *n)
{
	(void)n;
	start_cpus(route_often);
	route_often(smp_id());
	smp_wait();
	off(wrong ? WRONG : 0);
}
