/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Virtqueues, as one more door to the calls.
 *
 * A front is what a driver sees of a device: status, features, configuration,
 * queues (hcall/virtio.c).  queue.c takes requests out of rings in guest memory;
 * a file for each kind of device makes calls of them, and answers in the ring.
 * What the calls do is the services' business.
 */
#ifndef HCALL_VIRTIO_H
#define HCALL_VIRTIO_H

#include <linux/mutex.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_ids.h>

#include "../internal.h"

#define HCALL_VIRTIO_CONFIG_BYTES 256 /* more than any configuration has */

/* Requests done in one go, and bytes: then the guest has to call again. */
#define HCALL_KICK_REQUESTS HCALL_VIRTIO_MAX_SIZE
#define HCALL_KICK_BYTES SZ_4M

/* A few pieces may cross memslots. */
#define HCALL_SPARE_IOVS 8
#define HCALL_QUEUE_IOVS (HCALL_VIRTIO_MAX_SEGMENTS + HCALL_SPARE_IOVS)

/* Requests that one answer is spread over: enough for any frame in pieces of 1 KiB. */
#define HCALL_CHAIN_PARTS 64

/**
 * struct hcall_chain - a request in a queue: its buffers
 * @parts:    how many requests it is in truth
 * @part:     what each of them has
 * @part.head: its first descriptor, by which the guest knows it
 * @part.in:  bytes that may be written to it
 * @readable: pieces that the device reads, the first of @segment
 * @writable: pieces that it writes, the next ones
 * @out:      bytes of the former
 * @in:       bytes of the latter
 * @segment:  copied from guest memory, which is not looked at again
 * @iov:      HCALL_QUEUE_IOVS of them, for @memory
 * @memory:   what hcall_chain_memory() lets a call see
 */
struct hcall_chain {
	u16 parts;
	struct {
		u16 head;
		u32 in;
	} part[HCALL_CHAIN_PARTS];
	u16 readable;
	u16 writable;
	u64 out;
	u64 in;
	struct hcall_segment *segment;
	struct iovec *iov;
	u32 iovs;
	struct hcall_segments memory;
};

/**
 * struct hcall_queue - a split virtqueue (virtio 1.2, 2.7)
 * @front:      whose
 * @index:      its number
 * @lock:       protects what follows, but @work; see hcall_front_wake() for @ready
 * @work:       look for requests
 * @ready:      the guest has said where it is
 * @size:       descriptors
 * @channel:    fires when buffers have been used
 * @desc:       descriptor table, guest-physical
 * @driver:     available ring
 * @device:     used ring
 * @next_avail: index of the next request in the available ring
 * @next_used:  of the next answer in the used ring
 * @told:       @next_used when the guest was told the last time
 * @done:       bytes of the next request that have been moved already
 * @source:     net: the interface's queue that the next frame comes from
 * @segment:    of the request that is looked at
 * @iov:        the same
 */
struct hcall_queue {
	struct hcall_front *front;
	u32 index;
	struct mutex lock;
	struct hcall_work work;
	bool ready;
	u32 size;
	u32 channel;
	u64 desc;
	u64 driver;
	u64 device;
	u16 next_avail;
	u16 next_used;
	u16 told;
	u64 done;
	u32 source;
	struct hcall_segment segment[HCALL_VIRTIO_MAX_SEGMENTS];
	struct iovec iov[HCALL_QUEUE_IOVS];
};

/**
 * struct hcall_front - a device as virtio's drivers see it
 * @vm:        whose
 * @virtio:    the kind
 * @unit:      first argument of the calls of its class
 * @channel:   the device's own: configuration changes
 * @waits:     copied from struct hcall_dev, which goes before
 * @name:      the same
 * @lock:      one call at a time, but KICK and looking at @status; protects
 *	       @features, @select and changes of @queue, all of which others may read
 * @status:    virtio's bits; a queue that breaks changes it, too: atomic operations
 * @features:  that were chosen
 * @select:    written to the configuration of input
 * @writeback: written to the configuration of blk
 * @pairs:     of queues that are in use, where a kind has pairs; net's control queue
 *	       changes it, without @lock
 * @inflight:  requests that workers or the device's file have or will have; who
 *		takes the last one wakes vm->workers.idle
 * @queues:    elements of @queue
 * @queue:     each NULL until set up for the first time, then there for good
 */
struct hcall_front {
	struct hcall_vm *vm;
	const struct hcall_virtio *virtio;
	u32 unit;
	u32 channel;
	bool waits;
	char name[HCALL_NAME_BYTES];
	struct mutex lock;
	atomic_t status;
	u64 features;
	u16 select;
	bool writeback;
	u32 pairs;
	atomic_t inflight;
	u32 queues;
	struct hcall_queue *queue[] __counted_by(queues);
};

/**
 * struct hcall_virtio - a kind of device
 * @device_id:    VIRTIO_ID_*
 * @config_bytes: size of the configuration, at most HCALL_VIRTIO_CONFIG_BYTES
 * @unordered:    requests may be deferred, and overtake each other
 * @queues:       how many it has; @dev as for @config
 * @features:     that it offers, beyond those of all kinds; or NULL
 * @choose:       the driver has chosen @features; 0: it gives the device back.
 *		  Return: 0 or -HCALL_E*; or NULL
 * @config:       fill in the configuration; zeroes before.  @dev: the device, or
 *		  NULL if it is none
 * @configure:    the driver has written to it.  Return: false: it may not
 * @room:         how many bytes the next answer has; requests are taken together
 *		  until they have room for it, and it is spread over as many as it
 *		  needs.  NULL or 0: each is answered by itself; negative: there is
 *		  nothing to answer with
 * @request:      answer a request.  @call: vm, vcpu, door and nowait are set.
 *		  Context: as hcall_fn; queue->lock is held, but not on a worker to
 *		  which it was deferred.
 *		  Return: bytes written; HCALL_DEFER, if @call->nowait, or
 *		  -HCALL_EINTR: to be called again, from the beginning;
 *		  -HCALL_EAGAIN: there is nothing to move; -HCALL_EFAULT: the
 *		  driver lies.  One that was deferred has only the first and the
 *		  last, and, if @finish, HCALL_DEFER: its call is answered later
 * @finish:       then that one is to be finished; or NULL.  Return: as @request's
 */
struct hcall_virtio {
	u32 device_id;
	u32 config_bytes;
	bool unordered;
	u32 (*queues)(const struct hcall_vm *vm, struct hcall_dev *dev);
	u64 (*features)(struct hcall_dev *dev);
	s64 (*choose)(struct hcall_front *front, struct hcall_call *call,
		      u64 features);
	void (*config)(struct hcall_front *front, struct hcall_dev *dev,
		       void *config);
	bool (*configure)(struct hcall_front *front, u32 offset, u32 bytes,
			  const u8 *from);
	s64 (*room)(struct hcall_queue *queue, struct hcall_call *call);
	s64 (*request)(struct hcall_queue *queue, struct hcall_chain *chain,
		       struct hcall_call *call);
	s64 (*finish)(struct hcall_queue *queue, struct hcall_chain *chain,
		      struct hcall_later *later);
};

extern const struct hcall_virtio hcall_virtio_blk, hcall_virtio_console,
	hcall_virtio_rng, hcall_virtio_input, hcall_virtio_net;

/*
 * Has a call found no room that its queue can wait for?  The device tells of some, but
 * nobody would if a program has said so, or has turned the call to another device.
 */
static inline bool hcall_no_room(const struct hcall_front *front,
				 const struct hcall_call *call, s64 result)
{
	return result == -HCALL_EAGAIN && !call->by_program &&
	       call->args[0] == front->unit;
}

static inline bool hcall_front_has(const struct hcall_front *front,
				   unsigned int feature)
{
	return READ_ONCE(front->features) & BIT_ULL(feature);
}

/* Without VERSION_1 nothing gets here, so all is little-endian. */
static inline u16 from_virtio16(__virtio16 value)
{
	return __virtio16_to_cpu(true, value);
}

static inline u32 from_virtio32(__virtio32 value)
{
	return __virtio32_to_cpu(true, value);
}

static inline u64 from_virtio64(__virtio64 value)
{
	return __virtio64_to_cpu(true, value);
}

static inline __virtio16 to_virtio16(u16 value)
{
	return __cpu_to_virtio16(true, value);
}

static inline __virtio32 to_virtio32(u32 value)
{
	return __cpu_to_virtio32(true, value);
}

static inline __virtio64 to_virtio64(u64 value)
{
	return __cpu_to_virtio64(true, value);
}

/* queue.c */
void hcall_queue_init(struct hcall_queue *queue, struct hcall_front *front,
		      u32 index);
int hcall_queue_set(struct hcall_queue *queue,
		    const struct hcall_virtio_queue *info);
s64 hcall_queue_kick(struct hcall_queue *queue, struct kvm_vcpu *vcpu, bool tell);
void hcall_queue_stop(struct hcall_queue *queue);
u32 hcall_chain_parts(const struct hcall_chain *chain, u64 bytes);
void hcall_chain_memory(struct hcall_chain *chain, unsigned int dir, u64 offset,
			u64 len, struct hcall_call *call, u64 *gpa);

#endif
