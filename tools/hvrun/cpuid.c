// SPDX-License-Identifier: GPL-2.0
/*
 * CPUID as the guest sees it: all that KVM supports on this host, one core for
 * each vCPU, and the leaf range by which a guest finds hcall.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hvrun.h"

#define MAX_ENTRIES 256 /* KVM's own limit */

#define HCALL_BASE \
	(HCALL_CPUID_FIRST + HCALL_CPUID_STEP) /* KVM has the first */

#define LEAF1_ECX_TSC_DEADLINE	(1u << 24)
#define LEAF1_ECX_HYPERVISOR	(1u << 31)
#define LEAF1_EDX_HTT		(1u << 28)
#define EXT1_EDX_GIGABYTE_PAGES (1u << 26)
#define TOPOLOGY_SMT		0x100u
#define TOPOLOGY_CORE		0x201u

struct cpuid {
	unsigned int cpus;
	union {
		struct kvm_cpuid2 kvm;
		uint8_t room[sizeof(struct kvm_cpuid2) +
			     MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
	};
};

static struct kvm_cpuid_entry2 *find(const struct cpuid *cpuid, uint32_t leaf,
				     uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->kvm.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->kvm.entries[i];

		if (e->function == leaf && e->index == index)
			return (struct kvm_cpuid_entry2 *)e;
	}
	return NULL;
}

static struct kvm_cpuid_entry2 *find_or_add(struct cpuid *cpuid, uint32_t leaf,
					    uint32_t index, uint32_t flags)
{
	struct kvm_cpuid_entry2 *e = find(cpuid, leaf, index);

	if (e)
		return e;
	if (cpuid->kvm.nent == MAX_ENTRIES)
		die("no room for CPUID leaf 0x%x: KVM has %u already", leaf,
		    MAX_ENTRIES);
	e = &cpuid->kvm.entries[cpuid->kvm.nent++];
	*e = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = index,
		.flags = flags,
	};
	return e;
}

static void add_hcall_range(struct cpuid *cpuid)
{
	struct kvm_cpuid_entry2 *e;

	e = find_or_add(cpuid, HCALL_BASE, 0, 0);
	e->eax = HCALL_BASE + HCALL_CPUID_FEATURES;
	e->ebx = HCALL_CPUID_EBX;
	e->ecx = HCALL_CPUID_ECX;
	e->edx = HCALL_CPUID_EDX;
	e = find_or_add(cpuid, HCALL_BASE + HCALL_CPUID_FEATURES, 0, 0);
	e->eax = HCALL_FEATURE_CALLS;
	e->ebx = HCALL_PREFIX;
}

/* One package, a core for each vCPU, one thread for each core. */
static void set_topology(struct cpuid *cpuid)
{
	struct kvm_cpuid_entry2 *e;
	uint32_t id_bits = 0;

	while (1u << id_bits < cpuid->cpus)
		id_bits++;
	e = find_or_add(cpuid, 1, 0, 0);
	e->ecx |= LEAF1_ECX_HYPERVISOR;
	e->ebx &= 0x0000ffff;
	e->ebx |= (cpuid->cpus < 255 ? cpuid->cpus : 255) << 16;
	if (cpuid->cpus > 1)
		e->edx |= LEAF1_EDX_HTT;
	else
		e->edx &= ~LEAF1_EDX_HTT;
	e = find(cpuid, 0x80000008, 0);
	if (e)
		e->ecx = id_bits << 12 |
			 ((cpuid->cpus < 256 ? cpuid->cpus : 256) - 1);
	if (!find(cpuid, 0xb, 0))
		return;
	e = find(cpuid, 0xb, 0);
	e->eax = 0;
	e->ebx = 1;
	e->ecx = TOPOLOGY_SMT;
	e = find_or_add(cpuid, 0xb, 1, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	e->eax = id_bits;
	e->ebx = cpuid->cpus;
	e->ecx = TOPOLOGY_CORE;
	find_or_add(cpuid, 0xb, 2, KVM_CPUID_FLAG_SIGNIFCANT_INDEX)->ecx = 2;
}

struct cpuid *cpuid_create(int kvm_fd, unsigned int cpus)
{
	struct cpuid *cpuid = malloc(sizeof(*cpuid));

	if (!cpuid)
		die("out of memory");
	cpuid->cpus = cpus;
	cpuid->kvm.nent = MAX_ENTRIES;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid->kvm) < 0)
		die("KVM does not tell what CPUs it supports: %s",
		    strerror(errno));
	set_topology(cpuid);
	add_hcall_range(cpuid);
	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		find(cpuid, 1, 0)->ecx |= LEAF1_ECX_TSC_DEADLINE;
	return cpuid;
}

bool cpuid_has_gigabyte_pages(const struct cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *e = find(cpuid, 0x80000001, 0);

	return e && e->edx & EXT1_EDX_GIGABYTE_PAGES;
}

unsigned int cpuid_address_bits(const struct cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *e = find(cpuid, 0x80000008, 0);

	return e ? e->eax & 0xff : 36;
}

void cpuid_set(struct cpuid *cpuid, int vcpu_fd, unsigned int id)
{
	for (uint32_t i = 0; i < cpuid->kvm.nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->kvm.entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | id << 24;
		else if (e->function == 0xb)
			e->edx = id;
		else if (e->function == 0x8000001e)
			e->eax = id;
	}
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, &cpuid->kvm) < 0)
		die("KVM refuses the CPUID of vCPU %u: %s", id,
		    strerror(errno));
}
