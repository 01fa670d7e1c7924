/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of kvm_hcall.ko share.
 *
 * hook.c finds the VM of a hypercall and owns all that is KVM's; dispatch.c
 * takes the call to its service; the services in hcall/ see struct hcall_vm,
 * struct hcall_call and guest memory (memory.c), never a vCPU.
 *
 * Lifetime.  A call runs inside the SRCU read section of its VM (kvm->srcu),
 * on a vCPU thread or on a worker.  What a call may find is therefore
 * taken away in this order: unpublish, hcall_vm_synchronize(), free.
 * See Documentation/locking.rst.
 */
#ifndef HCALL_INTERNAL_H
#define HCALL_INTERNAL_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/percpu.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/xarray.h>

#include <hcall.h>
#include <linux/kvm_hcall.h>

#include "compat.h"

static_assert(HCALL_NAME_BYTES == KVM_HCALL_NAME_BYTES);

struct eventfd_ctx;
struct hcall_call;
struct hcall_front;
struct hcall_service;
struct hcall_timer;
struct hcall_virtio;
struct kvm;
struct kvm_vcpu;
struct vhost_task;

/*
 * A result that never reaches a guest: the call would have to wait, and came
 * by a door that must not.  Only where hcall_call.nowait is set, or @later: then
 * the answer will come.
 */
#define HCALL_DEFER (-EIOCBQUEUED)

/* ---- A VM --------------------------------------------------------------- */

#define HCALL_MAX_VCPUS 4096 /* at least KVM_MAX_VCPUS; see hook.c */

/* Classes with a table entry of their own, and one for all the others. */
enum {
	HCALL_INDEX_SYS,
	HCALL_INDEX_CONSOLE,
	HCALL_INDEX_BLOCK,
	HCALL_INDEX_TIMER,
	HCALL_INDEX_INPUT,
	HCALL_INDEX_NET,
	HCALL_INDEX_EVENT,
	HCALL_INDEX_VIRTIO,
	HCALL_INDEX_OTHER,
	HCALL_NR_INDEX
};

struct hcall_counts {
	u64 calls;
	u64 errors;
	u64 bytes;
	u64 denied;
	u64 forwarded;
};

struct hcall_stats {
	struct hcall_counts of[HCALL_NR_INDEX];
};

/**
 * struct hcall_binding - what the hook keeps for a VM; all of it is hook.c's
 * @node: in the hook's table; RCU
 * @key:  the address of struct kvm, from the VM's file; never dereferenced
 * @mm:   of who made the binding; vCPUs of another are not served
 * @kvm:  the same address, once a vCPU of that VM has shown that it is one
 *	  and can be served; set under RCU, NULL before
 */
struct hcall_binding {
	struct hlist_node node;
	const void *key;
	struct mm_struct *mm;
	struct kvm *kvm;
};

/**
 * struct hcall_dev - a device of a VM; the head of each service's own struct
 * @service:  who serves it
 * @vm:       whose it is
 * @unit:     the guest's number for it
 * @channel:  fires when it has something new
 * @flags:    HCALL_DEVICE_*
 * @waits:    each transfer waits for the host's device, so that it is no use to
 *	      try without
 * @front:    its virtqueues, once the guest has asked for them
 * @name:     as DEVICE tells it; zero-padded
 */
struct hcall_dev {
	const struct hcall_service *service;
	struct hcall_vm *vm;
	struct hcall_front *front;
	u32 unit;
	u32 channel;
	u32 flags;
	bool waits;
	char name[HCALL_NAME_BYTES];
};

/*
 * vCPUs that sleep until there is something for them.  A bit is set by the
 * vCPU that goes to sleep and cleared by whoever wakes it.  See hook.c.
 */
struct hcall_sleepers {
	struct hcall_vm *vm;
	struct xarray alarms; /* deadlines, by vCPU */
	DECLARE_BITMAP(vcpus, HCALL_MAX_VCPUS);
};

/**
 * struct hcall_route - where a channel's events go to
 * @vcpu:    index of the vCPU that they are for, or HCALL_VCPU_ANY
 * @eventfd: signalled; NULL: none
 */
struct hcall_route {
	u32 vcpu;
	struct eventfd_ctx *eventfd;
};

/**
 * struct hcall_events - the channels of a VM, see hcall/event.c
 * @lock:     protects all but @sleepers; taken with interrupts off, from any
 *	      context, inside the locks of wait queues
 * @bits:     pending and mask bits: @own, or in guest memory; both sides change
 *	      them by atomic operations
 * @own:      until the guest gives a page
 * @page:     the guest's, pinned; or NULL
 * @gpa:      of the bits in @page
 * @routes:   by channel; NULL: all are for any vCPU and have no eventfd
 * @sleepers: vCPUs in WAIT
 */
struct hcall_events {
	spinlock_t lock;
	struct hcall_event_page *bits;
	struct hcall_event_page own __aligned(sizeof(long));
	struct page *page;
	u64 gpa;
	struct hcall_route *routes;
	struct hcall_sleepers sleepers;
};

/* ---- Work ----------------------------------------------------------------- */

/* What hcall_work.run() says. */
enum hcall_work_state {
	HCALL_WORK_DONE, /* nothing is left to do, until it is queued again */
	HCALL_WORK_MORE, /* there is more to do */
	HCALL_WORK_GONE, /* it is not there any more */
};

/**
 * struct hcall_work - something that workers do, one of them at a time
 * @node:  in the list of the VM's work; else empty
 * @runs:  a worker is doing it
 * @again: it has been queued meanwhile
 * @run:   do it; inside kvm->srcu; may sleep
 * @drop:  it will never be run; or NULL
 */
struct hcall_work {
	struct list_head node;
	bool runs;
	bool again;
	enum hcall_work_state (*run)(struct hcall_work *work);
	void (*drop)(struct hcall_work *work);
};

static inline void
hcall_work_init(struct hcall_work *work,
		enum hcall_work_state (*run)(struct hcall_work *work),
		void (*drop)(struct hcall_work *work))
{
	INIT_LIST_HEAD(&work->node);
	work->runs = false;
	work->again = false;
	work->run = run;
	work->drop = drop;
}

/* What waits for a disk does not keep frames waiting, nor another disk. */
#define HCALL_WORKERS 4

/**
 * struct hcall_worker - one of them
 * @task:    the thread
 * @workers: all of the VM
 * @work:    what it does now; NULL: it sleeps, or is about to look for work
 */
struct hcall_worker {
	struct vhost_task *task;
	struct hcall_workers *workers;
	struct hcall_work *work;
};

/**
 * struct hcall_workers - the workers of a VM, see worker.c
 * @vm:      whose
 * @start:   one is started at a time; nests inside vm->lock
 * @lock:    protects what follows; taken with interrupts off, from any context,
 *	     inside the locks of wait queues
 * @queue:   of struct hcall_work
 * @stopped: nothing is done any more
 * @started: how many there are, from the first on
 * @worker:  them
 * @idle:    woken when a piece of work is done
 */
struct hcall_workers {
	struct hcall_vm *vm;
	struct mutex start;
	spinlock_t lock;
	struct list_head queue;
	bool stopped;
	unsigned int started;
	struct hcall_worker worker[HCALL_WORKERS];
	wait_queue_head_t idle;
};

/**
 * struct hcall_vm - an instance: an open /dev/kvm-hcall
 * @id:        1 or more, for who watches; unique among the open ones
 * @pid:       process of who opened it, in the first PID namespace
 * @comm:      and its name then
 * @lock:      serialises the ioctls; protects @vm_file, @sealed and changes of
 *	       @dev, @policy and @functions
 * @binding:   the hook's part
 * @vm_file:   keeps the VM; NULL until BIND
 * @sealed:    after KVM_HCALL_SEAL
 * @policy:    KVM_HCALL_HANDLE, _DENY or _FORWARD for each class; read by calls
 *	       without a lock
 * @functions: what PROBE answers for a forwarded class
 * @dev:       devices by class index and unit; read by calls without a lock
 * @stats:     counters, per CPU
 * @events:    channels
 * @timers:    HCALL_TIMERS of them, see hcall/timer.c
 * @timer_lock: one ARM or CANCEL at a time
 * @rng:       virtqueues of the device that is none of @dev, see virtio/
 * @workers:   for what must wait
 * @batches:   asynchronous ones on their way, see async.c
 * @node:      in the list of VMs that bpf.c keeps
 * @told:      a bit for each set of programs that knows of this VM
 */
struct hcall_vm {
	struct hcall_binding binding;
	u8 policy[256];
	struct hcall_dev *dev[HCALL_NR_INDEX][KVM_HCALL_MAX_UNITS];
	struct hcall_stats __percpu *stats;

	struct mutex lock;
	u32 id;
	u32 pid;
	char comm[TASK_COMM_LEN];
	struct file *vm_file;
	bool sealed;
	u64 functions[256];

	struct hcall_events events;
	struct hcall_timer *timers;
	struct mutex timer_lock;

	struct hcall_front *rng;
	struct hcall_workers workers;
	struct {
		atomic_t pending; /* at most HCALL_BATCH_MAX_PENDING */
		spinlock_t lock; /* protects list */
		struct list_head list; /* that no vCPU could finish */
		struct hcall_work work;
	} batches;

	struct list_head node;
	u32 told;
};

/* ---- A call -------------------------------------------------------------- */

/* Which door a call came by. */
enum hcall_door {
	HCALL_DOOR_REGISTER,
	HCALL_DOOR_BATCH,
	HCALL_DOOR_ASYNC,
	HCALL_DOOR_QUEUE,
};

/**
 * struct hcall_segment - a piece of a request's memory
 * @gpa: guest-physical address
 * @len: in bytes, not 0
 */
struct hcall_segment {
	u64 gpa;
	u32 len;
};

/**
 * struct hcall_segments - memory of a call that is not in one piece
 * @gpa:     where the call's arguments say that it is, as they cannot say more;
 *	     a program that changes them means another memory
 * @bytes:   how much there is
 * @segment: the pieces
 * @skip:    bytes of the first that are not the call's
 * @iov:     room for an iov_iter over as many pieces, and HCALL_SEGMENTS more
 * @iovs:    how much
 */
struct hcall_segments {
	u64 gpa;
	u64 bytes;
	const struct hcall_segment *segment;
	u32 skip;
	u32 iovs;
	struct iovec *iov;
};

/* What the hook does once the result is in RAX. */
enum hcall_after {
	HCALL_AFTER_RETURN, /* go on with the guest */
	HCALL_AFTER_HALT, /* sleep as HLT does, see hcall_sleep() */
	HCALL_AFTER_EXIT, /* leave to the launcher: the guest's EXIT */
	HCALL_AFTER_FORWARD, /* leave to the launcher: it answers this call */
};

/**
 * struct hcall_call - one call on its way, on the stack of whoever runs it
 * @vm:          the caller's
 * @vcpu:        the caller, hook.c's only; NULL on a worker
 * @nr:          the number, 32 bits
 * @door:        how it came
 * @after:       OUT: what follows the result
 * @nowait:      IN: answer HCALL_DEFER rather than wait
 * @later:       IN: this is the one of a struct hcall_later; HCALL_DEFER means
 *		 that its @done will be called
 * @asking:      for BPF programs, see bpf.c: enter() is being called
 * @by_program:  OUT, false before: the result is a BPF program's, not a service's
 * @args:        the guest's arguments: copied, never validated
 * @segments:    the memory, where the arguments can only say where it begins;
 *		 NULL: it is in one piece
 * @queue:       by a virtqueue, of class net: which queue of the interface
 * @bytes:       OUT: moved from or to guest memory, for the statistics
 * @exit_reason: OUT: with HCALL_AFTER_EXIT
 * @exit_code:   OUT: with HCALL_AFTER_EXIT
 * @result:      for BPF programs; nobody else sets it
 * @delayed_ns:  the same
 */
struct hcall_call {
	struct hcall_vm *vm;
	struct kvm_vcpu *vcpu;
	u32 nr;
	u8 door;
	u8 after;
	bool nowait;
	bool later;
	bool asking;
	bool by_program;
	u64 args[4];
	const struct hcall_segments *segments;
	u32 queue;
	u64 bytes;
	u32 exit_reason;
	u32 exit_code;
	s64 result;
	u64 delayed_ns;
};

/**
 * struct hcall_later - a call whose answer may come later
 * @call:     it
 * @front:    IN: whose request it is; only the device of this one stays until it
 *	      is done
 * @dev:      whose file does it
 * @iocb:     what the file does
 * @moved:    bytes, or a negative errno of the kernel
 * @answer:   the service makes the guest's result of that.  Context: as hcall_fn
 * @done:     the file is done with it: hcall_finish() is to be called.
 *	      Context: any
 * @key:      for who made the call
 * @start_ns: when it began; 0: nobody wants to know
 * @asked:    by bpf.c: who is told of the result
 * @number:   the same
 */
struct hcall_later {
	struct hcall_call call;
	const struct hcall_front *front;
	struct hcall_dev *dev;
	struct kiocb iocb;
	ssize_t moved;
	s64 (*answer)(struct hcall_later *later);
	void (*done)(struct hcall_later *later);
	u64 key;
	u64 start_ns;
	u64 number;
	u32 asked;
};

/**
 * typedef hcall_fn - a function of a service
 *
 * Context: process, may sleep and fault, inside kvm->srcu.
 * Return: the guest's result, or HCALL_DEFER if @call->nowait or @call->later.
 */
typedef s64 (*hcall_fn)(struct hcall_call *call);

/* One more than the highest function number of any class, or more. */
#define HCALL_MAX_FN 16

/**
 * struct hcall_service - a class of calls
 * @class_id: HCALL_CLASS_*
 * @index:    HCALL_INDEX_*
 * @fn:       by function number; NULL: no such function
 * @functions: a bit for each function in @fn
 * @add:      make a device from the launcher's files; begins with
 *	      hcall_dev_init().  Context: vm->lock held.
 *	      Return: the device or ERR_PTR
 * @ready:    has the device something for the guest now?  It fired in vain
 *	      while the guest could not find it; or NULL
 * @remove:   free a device that no call can find any more; Context: may sleep
 * @describe: fill in the class's part of @info.  Context: a call
 * @resize:   the launcher says that the device has another size, or NULL.
 *	      Context: vm->lock held.  Return: 0 or a negative errno
 * @link:     the launcher says that the link has changed, or NULL.
 *	      Return: 0 or -EINVAL
 * @virtio:   the same by virtqueues, or NULL
 */
struct hcall_service {
	u32 class_id;
	u32 index;
	hcall_fn fn[HCALL_MAX_FN];
	u64 functions;
	struct hcall_dev *(*add)(struct hcall_vm *vm,
				 const struct kvm_hcall_add *add);
	bool (*ready)(struct hcall_dev *dev);
	void (*remove)(struct hcall_dev *dev);
	void (*describe)(struct hcall_dev *dev, struct hcall_device *info);
	int (*resize)(struct hcall_dev *dev,
		      const struct kvm_hcall_resize *resize);
	int (*link)(struct hcall_dev *dev, const struct kvm_hcall_link *link);
	const struct hcall_virtio *virtio;
};

/* A function in a service's @functions. */
#define HCALL_FN_BIT(nr) BIT_ULL(HCALL_NR_FUNCTION(nr))

extern const struct hcall_service hcall_sys, hcall_console, hcall_block,
	hcall_timer, hcall_input, hcall_net, hcall_event, hcall_virtio;

/* dispatch.c */
s64 hcall_error(long error);
s64 hcall_forward(struct hcall_call *call, u32 index);
void hcall_count(struct hcall_call *call, s64 result);
s64 hcall_finish(struct hcall_later *later);
int hcall_watch(void);
void hcall_unwatch(void);

extern const struct hcall_service *const hcall_services[256];

/* Who answers a class, or NULL. */
static inline const struct hcall_service *hcall_service(u8 class_id)
{
	return hcall_services[class_id];
}

/*
 * The device that a guest's number means, or NULL.  It stays until the call
 * is over.
 */
static inline struct hcall_dev *hcall_dev(const struct hcall_call *call,
					  u32 index, u64 unit)
{
	struct hcall_dev **dev = call->vm->dev[index];

	if (unit >= KVM_HCALL_MAX_UNITS)
		return NULL;
	return READ_ONCE(dev[array_index_nospec(unit, KVM_HCALL_MAX_UNITS)]);
}

/* hcall/sys.c, for both kinds of batch */
bool hcall_batch_element(struct hcall_call *call, struct hcall_op *op,
			 bool *failed);
int hcall_batch_answer(struct hcall_vm *vm, u64 gpa, const struct hcall_op *op);

/* hcall/event.c */
bool hcall_fire(struct hcall_vm *vm, u32 channel);
int hcall_route_set(struct hcall_vm *vm, u32 channel, u32 vcpu,
		    struct eventfd_ctx *eventfd);
void hcall_events_init(struct hcall_vm *vm);
void hcall_events_free(struct hcall_vm *vm);

/* hcall/input.c */
u32 hcall_input_config(struct hcall_dev *dev, u8 select, u8 subsel, void *to,
		       u32 room);

/* hcall/net.c */
u32 hcall_net_queues(const struct hcall_dev *dev);
u32 hcall_net_next(const struct hcall_call *call, u64 unit, u32 first, u32 step,
		   u32 *next);

/* hcall/timer.c */
int hcall_timers_init(struct hcall_vm *vm);
void hcall_timers_free(struct hcall_vm *vm);

/* bpf.c */
s64 hcall_bpf_call(struct hcall_call *call);
s64 hcall_bpf_finish(struct hcall_later *later, s64 result);
s64 hcall_bpf_serve(struct hcall_call *call);
u64 hcall_bpf_functions(struct hcall_vm *vm, u32 class_id);
void hcall_bpf_bind(struct hcall_vm *vm);
void hcall_bpf_unbind(struct hcall_vm *vm);
int hcall_bpf_init(void);
void hcall_bpf_register(void);
void hcall_bpf_exit(void);

/* hcall/sys.c, what DEVICE says */
void hcall_dev_describe(struct hcall_dev *dev, struct hcall_device *info);

/* vm.c */
u32 hcall_channel(u32 index, u32 unit);
void hcall_dev_init(struct hcall_dev *dev, const struct hcall_service *service,
		    struct hcall_vm *vm, const struct kvm_hcall_add *add);
int hcall_vm_init(void);
void hcall_vm_exit(void);

/* async.c */
void hcall_async_init(struct hcall_vm *vm);
void hcall_async_drop(struct hcall_vm *vm);
s64 hcall_async_submit(struct hcall_call *call, u64 gpa, u32 count,
		       u32 channel);

/* worker.c */
void hcall_workers_init(struct hcall_vm *vm);
int hcall_workers_start(struct hcall_vm *vm);
void hcall_workers_stop(struct hcall_vm *vm);
void hcall_work_queue(struct hcall_vm *vm, struct hcall_work *work);
void hcall_work_cancel(struct hcall_vm *vm, struct hcall_work *work);

/* hcall/virtio.c */
bool hcall_front_wake(struct hcall_front *front, u32 i);
void hcall_front_stop(struct hcall_front *front);
void hcall_front_free(struct hcall_front *front);

/* ---- hook.c: all that is KVM's ------------------------------------------- */

int hcall_hook_attach(void);
void hcall_hook_detach(void);
int hcall_hook_bind(struct hcall_vm *vm, struct file *vm_file);
void hcall_hook_unbind(struct hcall_vm *vm);
void hcall_vm_synchronize(struct hcall_vm *vm);
int hcall_vm_enter(struct hcall_vm *vm);
void hcall_vm_leave(struct hcall_vm *vm, int idx);

void hcall_sleepers_init(struct hcall_sleepers *sleepers, struct hcall_vm *vm);
void hcall_sleepers_free(struct hcall_sleepers *sleepers);
u32 hcall_vcpu(const struct hcall_call *call);
u32 hcall_vcpus(const struct hcall_vm *vm);
int hcall_vcpu_by_id(struct hcall_vm *vm, u32 id);
bool hcall_may_sleep(const struct hcall_call *call);
void hcall_sleep(struct hcall_sleepers *sleepers, struct hcall_call *call);
void hcall_stay_awake(struct hcall_sleepers *sleepers, struct hcall_call *call);
int hcall_sleep_until(struct hcall_sleepers *sleepers, struct hcall_call *call,
		      ktime_t deadline);
void hcall_wake(struct hcall_sleepers *sleepers);
void hcall_wake_vcpu(struct hcall_sleepers *sleepers, u32 vcpu);

/* ---- end.c: the files behind devices -------------------------------------- */

/* A terminal has a queue for each direction and poll() puts us on both. */
#define HCALL_END_QUEUES 2

struct hcall_end;

struct hcall_end_wait {
	struct wait_queue_entry entry;
	struct wait_queue_head *queue;
	struct hcall_end *end;
};

/**
 * struct hcall_end - one direction of a device
 * @file:     the launcher's; a reference of ours; NULL: there is no such end
 * @dev:      whose channel fires
 * @pair:     of virtqueues, one of which is looked at instead, if there are some
 * @first:    of several, any of which will do: who waits sleeps there; or itself
 * @next:     of those; changes before calls can find them
 * @events:   what poll() says when something can be moved
 * @starved:  nothing could be moved; for room: the channel shall tell of some
 * @sleepers: vCPUs that wait in a call
 * @wait:     our entries there
 * @waits:    how many of them
 */
struct hcall_end {
	struct file *file;
	struct hcall_dev *dev;
	u32 pair;
	struct hcall_end *first;
	struct hcall_end *next;
	__poll_t events;
	bool starved;
	struct hcall_sleepers sleepers;
	struct hcall_end_wait wait[HCALL_END_QUEUES];
	unsigned int waits;
};

int hcall_end_open(struct hcall_end *end, struct hcall_dev *dev,
		   struct file *file, __poll_t events);
void hcall_end_close(struct hcall_end *end);
bool hcall_end_ready(struct hcall_end *end);
int hcall_end_wait(struct hcall_end *end, struct hcall_call *call, u64 flags);
ssize_t hcall_end_rw(struct hcall_end *end, const struct iov_iter *all);

/* ---- memory.c: guest memory; hcall_buffer() is in memory.h ---------------- */

/**
 * struct hcall_span - guest memory that lies in one memslot
 * @user:   where it is in the launcher's address space
 * @logged: the launcher wants to know what is written: see hcall_dirty()
 */
struct hcall_span {
	void __user *user;
	bool logged;
};

int hcall_check(struct hcall_vm *vm, u64 gpa, u64 len, unsigned int dir);
int hcall_read(struct hcall_vm *vm, u64 gpa, void *to, u64 len);
int hcall_write(struct hcall_vm *vm, u64 gpa, const void *from, u64 len);
int hcall_call_check(const struct hcall_call *call, u64 gpa, u64 len,
		     unsigned int dir);
int hcall_call_read(const struct hcall_call *call, u64 gpa, u64 offset, void *to,
		    u64 len);
int hcall_call_write(const struct hcall_call *call, u64 gpa, u64 offset,
		     const void *from, u64 len);
void hcall_call_dirty(const struct hcall_call *call, u64 gpa, u64 len);
bool hcall_span(struct hcall_vm *vm, u64 gpa, u64 len, struct hcall_span *span);
void hcall_dirty(struct hcall_vm *vm, u64 gpa, u64 len);
void hcall_dirty_outside(struct hcall_vm *vm, u64 gpa, u64 len);
struct page *hcall_pin(struct hcall_vm *vm, u64 gpa, void **address);

#endif
