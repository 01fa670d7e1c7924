// SPDX-License-Identifier: GPL-2.0
/* See world.h. */
#include "world.h"

struct hcall_vm vm;
struct shim shim;
static struct kvm kvm;
static struct kvm_memslots slots;

void world_begin(void)
{
	for (unsigned int i = 0; i < slots.n; i++) {
		free((void *)slots.slot[i].userspace_addr);
		free(slots.slot[i].dirty_bitmap);
	}
	slots.n = 0;
	kvm.memslots[0] = &slots;
	shim = (struct shim){};
	vm = (struct hcall_vm){ .binding.kvm = &kvm };
}

struct kvm_memory_slot *world_slot(u64 gpa, u64 pages, u32 flags)
{
	struct kvm_memory_slot *slot = &slots.slot[slots.n++];
	u64 bytes = pages * PAGE_SIZE;
	u8 *memory = aligned_alloc(PAGE_SIZE, bytes);

	NEED(slots.n <= KVM_SLOTS && gpa % PAGE_SIZE == 0 && memory);
	for (u64 i = 0; i < bytes; i++)
		memory[i] = i * 167 + (i >> 8) * 13 + slots.n * 59;
	*slot = (struct kvm_memory_slot){
		.base_gfn = gpa / PAGE_SIZE,
		.npages = pages,
		.userspace_addr = (unsigned long)memory,
		.flags = flags,
	};
	if (flags & KVM_MEM_LOG_DIRTY_PAGES)
		slot->dirty_bitmap = calloc(1, (pages + 7) / 8);
	return slot;
}

static struct kvm_memory_slot *slot_at(u64 gpa)
{
	for (unsigned int i = 0; i < slots.n; i++) {
		struct kvm_memory_slot *slot = &slots.slot[i];
		u64 offset = gpa - slot->base_gfn * PAGE_SIZE;

		if (gpa >= slot->base_gfn * PAGE_SIZE &&
		    offset < slot->npages * PAGE_SIZE)
			return slot;
	}
	return NULL;
}

u8 *world_at(u64 gpa, bool write)
{
	struct kvm_memory_slot *slot = slot_at(gpa);

	if (!slot || slot->flags & (KVM_MEMSLOT_INVALID | KVM_MEM_GUEST_MEMFD))
		return NULL;
	if (write && slot->flags & KVM_MEM_READONLY)
		return NULL;
	return (u8 *)slot->userspace_addr + (gpa - slot->base_gfn * PAGE_SIZE);
}

bool world_dirty(u64 gpa)
{
	struct kvm_memory_slot *slot = slot_at(gpa);
	u64 page = gpa / PAGE_SIZE - slot->base_gfn;

	return slot->dirty_bitmap &&
	       ((u8 *)slot->dirty_bitmap)[page / 8] >> page % 8 & 1;
}
