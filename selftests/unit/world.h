/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The world of a test of the module: a VM with guest memory.
 *
 * Each memslot is a piece of memory of its own with an exact end, so that the
 * sanitizer sees the first byte before and behind it.
 */
#ifndef UNIT_WORLD_H
#define UNIT_WORLD_H

#include "internal.h"
#include "unit.h"

extern struct hcall_vm vm;

/** world_begin() - a VM without memory; ends the last one */
void world_begin(void);
/**
 * world_slot() - give it a memslot
 * @gpa:   a multiple of PAGE_SIZE
 * @pages: how many; 0: the slot is there, but empty
 * @flags: KVM_MEM_*; with _LOG_DIRTY_PAGES it has a bitmap
 */
struct kvm_memory_slot *world_slot(u64 gpa, u64 pages, u32 flags);
/**
 * world_at() - where the byte at @gpa is, by a way of its own
 * @write: only if it may be written to
 *
 * Return: NULL: nowhere that a call may use.
 */
u8 *world_at(u64 gpa, bool write);
/** world_dirty() - is the page of @gpa in the bitmap of its slot? */
bool world_dirty(u64 gpa);

#endif
