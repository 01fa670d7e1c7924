// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's ROUTE calls that ask for an interrupt.  KVM gives interrupts for
 * eventfds (irqfd), by GSI: 0 to 23 are the lines of PIC and I/O APIC; above,
 * each GSI is a message to one vector of one vCPU's local APIC.  Channels that
 * want the same interrupt share its GSI and eventfd; it is given back when no
 * channel has it any more, so that a channel never holds more than one.
 *
 * Calls come from all vCPUs' threads, one at a time under the lock.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hvrun.h"
#include "linux/kvm_hcall.h"

#define LINES		(HCALL_ROUTE_MAX_LINE + 1)
#define PIC_LINES	16 /* 8 each */
#define GSIS		(LINES + HCALL_CHANNELS)
#define NO_GSI		-1
#define MSI_ADDRESS	0xfee00000u /* fixed, edge, physical destination */
#define MSI_LOW_ID(id)	(((id)&0xff) << 12)
#define MSI_HIGH_ID(id) ((id) & ~0xffu)

/**
 * struct interrupts - what the guest has routed
 * @lock:     protects what follows
 * @gsis:     with @channels of 0: not in use, and there is no eventfd
 * @channels: the GSI of each, or NO_GSI
 * @table:    for KVM, which wants all of it for each change
 */
struct interrupts {
	const struct vm *vm;
	int hcall_fd;
	pthread_mutex_t lock;
	struct {
		unsigned int channels;
		int eventfd;
		uint32_t vcpu, vector; /* of a message */
	} gsis[GSIS];
	int channels[HCALL_CHANNELS];
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[PIC_LINES + GSIS];
	} table;
};

struct interrupts *interrupts_create(const struct vm *vm, int hcall_fd)
{
	struct interrupts *in = calloc(1, sizeof(*in));

	if (!in)
		die("out of memory");
	in->vm = vm;
	in->hcall_fd = hcall_fd;
	pthread_mutex_init(&in->lock, NULL);
	for (unsigned int i = 0; i < HCALL_CHANNELS; i++)
		in->channels[i] = NO_GSI;
	return in;
}

void interrupts_destroy(struct interrupts *in)
{
	for (unsigned int gsi = 0; gsi < GSIS; gsi++)
		if (in->gsis[gsi].channels)
			close(in->gsis[gsi].eventfd);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

/* ---- KVM's table of GSIs ------------------------------------------------- */

static struct kvm_irq_routing_entry *add_entry(struct interrupts *in,
					       uint32_t gsi, uint32_t type)
{
	struct kvm_irq_routing_entry *e =
		&in->table.entries[in->table.head.nr++];

	memset(e, 0, sizeof(*e));
	e->gsi = gsi;
	e->type = type;
	return e;
}

static void add_pin(struct interrupts *in, uint32_t gsi, uint32_t chip,
		    uint32_t pin)
{
	struct kvm_irq_routing_entry *e =
		add_entry(in, gsi, KVM_IRQ_ROUTING_IRQCHIP);

	e->u.irqchip.irqchip = chip;
	e->u.irqchip.pin = pin;
}

static void add_message(struct interrupts *in, uint32_t gsi)
{
	struct kvm_irq_routing_entry *e =
		add_entry(in, gsi, KVM_IRQ_ROUTING_MSI);
	uint32_t id = in->gsis[gsi].vcpu;

	e->u.msi.address_lo = MSI_ADDRESS | MSI_LOW_ID(id);
	e->u.msi.address_hi = MSI_HIGH_ID(id);
	e->u.msi.data = in->gsis[gsi].vector;
}

/* The lines are as KVM has them in a new VM. */
static int set_table(struct interrupts *in)
{
	in->table.head.nr = 0;
	for (uint32_t line = 0; line < LINES; line++) {
		if (line < PIC_LINES)
			add_pin(in, line,
				line < 8 ? KVM_IRQCHIP_PIC_MASTER
					 : KVM_IRQCHIP_PIC_SLAVE,
				line % 8);
		add_pin(in, line, KVM_IRQCHIP_IOAPIC, line);
	}
	for (uint32_t gsi = LINES; gsi < GSIS; gsi++)
		if (in->gsis[gsi].channels)
			add_message(in, gsi);
	return ioctl(in->vm->fd, KVM_SET_GSI_ROUTING, &in->table);
}

/* ---- A GSI's life -------------------------------------------------------- */

static int set_irqfd(const struct interrupts *in, int gsi, uint32_t flags)
{
	struct kvm_irqfd irqfd = {
		.fd = in->gsis[gsi].eventfd,
		.gsi = gsi,
		.flags = flags,
	};

	return ioctl(in->vm->fd, KVM_IRQFD, &irqfd);
}

static void put_gsi(struct interrupts *in, int gsi)
{
	if (gsi == NO_GSI || --in->gsis[gsi].channels)
		return;
	set_irqfd(in, gsi, KVM_IRQFD_FLAG_DEASSIGN);
	close(in->gsis[gsi].eventfd);
	/* Its message, if it is one, leaves the table with the next change. */
}

/* The one for a message that some channel has already, or else a free one. */
static int find_message(const struct interrupts *in, uint32_t vcpu,
			uint32_t vector)
{
	int free_gsi = NO_GSI;

	for (int gsi = LINES; gsi < (int)GSIS; gsi++) {
		if (!in->gsis[gsi].channels) {
			if (free_gsi == NO_GSI)
				free_gsi = gsi;
		} else if (in->gsis[gsi].vcpu == vcpu &&
			   in->gsis[gsi].vector == vector) {
			return gsi;
		}
	}
	return free_gsi;
}

/* -1 and errno, and nothing has changed. */
static int get_gsi(struct interrupts *in, uint32_t vcpu, uint32_t vector,
		   bool is_line)
{
	int gsi = is_line ? (int)vector : find_message(in, vcpu, vector), err;

	if (gsi == NO_GSI) {
		errno = ENOMEM;
		return -1;
	}
	if (in->gsis[gsi].channels++)
		return gsi;
	in->gsis[gsi].vcpu = vcpu;
	in->gsis[gsi].vector = vector;
	in->gsis[gsi].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (in->gsis[gsi].eventfd < 0) {
		in->gsis[gsi].channels = 0;
		return -1;
	}
	if ((is_line || set_table(in) == 0) && set_irqfd(in, gsi, 0) == 0)
		return gsi;
	err = errno;
	in->gsis[gsi].channels = 0;
	close(in->gsis[gsi].eventfd);
	errno = err;
	return -1;
}

/* ---- The call ------------------------------------------------------------ */

static int64_t abi_error(int err)
{
	switch (err) {
	case ENODEV:
		return -HCALL_ENODEV;
	case EINVAL:
		return -HCALL_EINVAL;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return -HCALL_ENOMEM;
	default:
		return -HCALL_EIO;
	}
}

static int64_t route(struct interrupts *in, uint32_t channel, uint32_t vcpu,
		     uint32_t vector, bool is_line)
{
	struct kvm_hcall_route r = {
		.channel = channel,
		.vcpu = vcpu == HCALL_VCPU_ANY ? KVM_HCALL_VCPU_ANY : vcpu,
	};
	int gsi = get_gsi(in, vcpu, vector, is_line), err;

	if (gsi < 0)
		return abi_error(errno);
	r.fd = in->gsis[gsi].eventfd;
	if (ioctl(in->hcall_fd, KVM_HCALL_ROUTE, &r) < 0) {
		err = errno;
		put_gsi(in, gsi);
		return abi_error(err);
	}
	put_gsi(in, in->channels[channel]);
	in->channels[channel] = gsi;
	return 0;
}

/*
 * The module has looked at the arguments; we index by them, so do it too.  What
 * is no interrupt does not get here.
 */
int64_t interrupts_route(struct interrupts *in, const uint64_t *args)
{
	uint64_t channel = args[0], vcpu = args[1], vector = args[2];
	bool is_line = args[3] == HCALL_ROUTE_LINE;
	int64_t answer;

	if (channel >= HCALL_CHANNELS || (args[3] && !is_line))
		return -HCALL_EINVAL;
	if (is_line && vector > HCALL_ROUTE_MAX_LINE)
		return -HCALL_EINVAL;
	if (!is_line &&
	    (vcpu == HCALL_VCPU_ANY || vector < HCALL_ROUTE_MIN_VECTOR ||
	     vector > HCALL_ROUTE_MAX_VECTOR))
		return -HCALL_EINVAL;
	if (vcpu != HCALL_VCPU_ANY && vcpu >= in->vm->cpus)
		return -HCALL_ENODEV;
	pthread_mutex_lock(&in->lock);
	answer = route(in, channel, vcpu, vector, is_line);
	pthread_mutex_unlock(&in->lock);
	return answer;
}
