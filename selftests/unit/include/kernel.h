/* SPDX-License-Identifier: GPL-2.0 */
/*
 * As much of the kernel as the module's files under test need, in userspace.  It
 * is included before everything else; the kernel's own headers are empty files
 * that the Makefile makes, or the system's, where they are for userspace too.
 *
 * Nothing here is faster or kinder than the kernel: locks know if they are held,
 * an index is within its bounds before array_index_nospec(), and user memory can be
 * absent or change as soon as it has been read (struct shim).
 */
#ifndef UNIT_KERNEL_H
#define UNIT_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/virtio_types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef u64 gfn_t;
typedef s64 ktime_t;
typedef unsigned int gfp_t;
typedef unsigned short umode_t;

#define CONFIG_X86_64 1

/* ---- The knobs ------------------------------------------------------------- */

/**
 * struct shim - what happens around the code under test
 * @signal:  one is pending
 * @fatal:   and it kills
 * @no_memory: allocations fail
 * @gone:    user memory that faults, of @gone_bytes
 * @fetched: user memory has just been read: now a guest can change it
 * @now:     the time of all clocks
 * @hrtimer: that was started last
 */
struct shim {
	bool signal;
	bool fatal;
	bool no_memory;
	const void *gone;
	size_t gone_bytes;
	void (*fetched)(const void *user, size_t bytes);
	ktime_t now;
	struct hrtimer *hrtimer;
};

extern struct shim shim;

/* The code under test has done what nobody may: no test goes on after that. */
#ifdef PROVE
void must(bool cond);
#define BUG_ON(cond) must(!(cond))
#else
#define BUG_ON(cond)                                                  \
	do {                                                          \
		if (cond) {                                           \
			fprintf(stderr, "%s:%d: BUG: %s\n", __FILE__, \
				__LINE__, #cond);                     \
			abort();                                      \
		}                                                     \
	} while (0)
#endif

/* ---- Compiler ---------------------------------------------------------------- */

#define __user
#define __percpu
#define __force
#define __uninitialized
#define __counted_by(member)
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define noinline	__attribute__((noinline))
#define __aligned(n)	__attribute__((aligned(n)))
#define __packed	__attribute__((packed))
#define __must_check
#define likely(cond)   __builtin_expect(!!(cond), 1)
#define unlikely(cond) __builtin_expect(!!(cond), 0)
#define static_assert(cond, ...) _Static_assert(cond, #cond)
#define READ_ONCE(x)	     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))
#define smp_mb()
#define smp_rmb()
#define smp_wmb()
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define offsetofend(type, member) \
	(offsetof(type, member) + sizeof(((type *)0)->member))
#define struct_size(p, member, n) \
	(offsetof(__typeof__(*(p)), member) + (n) * sizeof((p)->member[0]))

/* ---- Numbers -------------------------------------------------------------------- */

#define U16_MAX	      UINT16_MAX
#define U32_MAX	      UINT32_MAX
#define SZ_64K	      0x10000
#define SZ_1M	      0x100000
#define SZ_4M	      0x400000
#define BITS_PER_LONG 64
#define BIT(nr)	      (1ul << (nr))
#define BIT_ULL(nr)   (1ull << (nr))
#define min(a, b)                             \
	({                                    \
		__typeof__((a) + 0) a_ = (a); \
		__typeof__((b) + 0) b_ = (b); \
		a_ < b_ ? a_ : b_;            \
	})
#define max(a, b)                             \
	({                                    \
		__typeof__((a) + 0) a_ = (a); \
		__typeof__((b) + 0) b_ = (b); \
		a_ > b_ ? a_ : b_;            \
	})
#define min_t(type, a, b) min((type)(a), (type)(b))
#define clamp_t(type, value, low, high) \
	min_t(type, max((type)(value), (type)(low)), high)
#define round_down(x, y) ((x) & ~((__typeof__(x))(y)-1))
#define is_power_of_2(n) ((n) != 0 && ((n) & ((n)-1)) == 0)
#define ilog2(n)	 (63 - __builtin_clzll(n))

static inline u64 array_index_nospec(u64 index, u64 size)
{
	BUG_ON(index >= size);
	return index;
}

static inline __u16 __virtio16_to_cpu(bool little, __virtio16 value)
{
	BUG_ON(!little);
	return value;
}

static inline __u32 __virtio32_to_cpu(bool little, __virtio32 value)
{
	BUG_ON(!little);
	return value;
}

static inline __u64 __virtio64_to_cpu(bool little, __virtio64 value)
{
	BUG_ON(!little);
	return value;
}

#define __cpu_to_virtio16 __virtio16_to_cpu
#define __cpu_to_virtio32 __virtio32_to_cpu
#define __cpu_to_virtio64 __virtio64_to_cpu

/* ---- Data ----------------------------------------------------------------------- */

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

struct xarray {
	int unused;
};

struct rcu_head {
	int unused;
};

#define DECLARE_BITMAP(name, bits) unsigned long name[(bits) / BITS_PER_LONG]

static inline void set_bit_le(u64 nr, void *bitmap)
{
	((u8 *)bitmap)[nr / 8] |= 1 << nr % 8;
}

/* ---- One thread: locks only say if they are held ------------------------------------ */

struct mutex {
	bool held;
};

typedef struct {
	bool held;
} spinlock_t;

#define lockdep_assert_held(lock) BUG_ON(!(lock)->held)

static inline void mutex_init(struct mutex *mutex)
{
	mutex->held = false;
}

static inline void mutex_destroy(struct mutex *mutex)
{
	BUG_ON(mutex->held);
}

static inline void mutex_lock(struct mutex *mutex)
{
	BUG_ON(mutex->held);
	mutex->held = true;
}

static inline int mutex_lock_interruptible(struct mutex *mutex)
{
	if (shim.signal)
		return -EINTR;
	mutex_lock(mutex);
	return 0;
}

static inline void mutex_unlock(struct mutex *mutex)
{
	BUG_ON(!mutex->held);
	mutex->held = false;
}

static inline void unguard_mutex(struct mutex **mutex)
{
	mutex_unlock(*mutex);
}

#define guard(type) guard_##type
#define guard_mutex(lock)                                                      \
	struct mutex *guard_ __attribute__((cleanup(unguard_mutex))) = (lock); \
	mutex_lock(guard_)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

#define atomic_read(v)	   ((v)->counter)
#define atomic_inc(v)	   ((void)(v)->counter++)
#define atomic_or(i, v)	   ((void)((v)->counter |= (i)))
#define atomic64_set(v, i) ((void)((v)->counter = (i)))
#define atomic64_add(i, v) \
	BUG_ON(__builtin_add_overflow((v)->counter, i, &(v)->counter))

static inline int atomic_dec_return_release(atomic_t *v)
{
	return --v->counter;
}

static inline s64 atomic64_xchg(atomic64_t *v, s64 value)
{
	s64 old = v->counter;

	v->counter = value;
	return old;
}

#define this_cpu_inc(x)		   ((x)++)
#define this_cpu_add(x, i)	   ((x) += (i))

#define current			   NULL
#define signal_pending(task)	   (shim.signal)
#define fatal_signal_pending(task) (shim.fatal)
#define need_resched()		   true
#define cond_resched()		   ((void)0)

typedef struct {
	int unused;
} wait_queue_head_t;

struct wait_queue_head;
struct wait_queue_entry {
	int unused;
};

#define TASK_COMM_LEN	   16

/* ---- Memory --------------------------------------------------------------------------- */

#define GFP_KERNEL_ACCOUNT 0u

#define PAGE_SHIFT	   12
#define PAGE_SIZE	   (1ul << PAGE_SHIFT)
#define PAGE_MASK	   (~(PAGE_SIZE - 1))
#define offset_in_page(p)  ((unsigned long)(p) & ~PAGE_MASK)

static inline void *kvmalloc(size_t bytes, gfp_t gfp)
{
	return shim.no_memory ? NULL : malloc(bytes + 0 * gfp);
}

static inline void *kvcalloc(size_t n, size_t bytes, gfp_t gfp)
{
	return shim.no_memory ? NULL : calloc(n, bytes + 0 * gfp);
}

static inline void *kzalloc(size_t bytes, gfp_t gfp)
{
	return kvcalloc(1, bytes, gfp);
}

#define kvfree		   free
#define kfree		   free
#define kvfree_rcu(p, rcu) free(p)

#define IS_ERR_VALUE(x)	   ((unsigned long)(x) >= -4095ul)
#define ERR_PTR(error)	   ((void *)(long)(error))

/* Only hook.c's and event.c's pages are pinned, which are not under test. */
struct page;
#define FOLL_WRITE				  1
#define FOLL_LONGTERM				  2
#define pin_user_pages_fast(user, n, flags, page) (*(page) = NULL, -EFAULT)
#define page_address(page)			  ((void *)(page))

/* ---- Memory of users -------------------------------------------------------------------- */

static inline bool user_ok(const void *user, size_t bytes)
{
	const char *at = user, *gone = shim.gone;

	return !gone || at + bytes <= gone || at >= gone + shim.gone_bytes;
}

static inline void user_fetched(const void *user, size_t bytes)
{
	if (shim.fetched)
		shim.fetched(user, bytes);
}

static inline size_t copy_from_user(void *to, const void *from, size_t bytes)
{
	if (!user_ok(from, bytes))
		return bytes;
	memcpy(to, from, bytes);
	user_fetched(from, bytes);
	return 0;
}

static inline size_t copy_to_user(void *to, const void *from, size_t bytes)
{
	if (!user_ok(to, bytes))
		return bytes;
	memcpy(to, from, bytes);
	return 0;
}

static inline size_t clear_user(void *to, size_t bytes)
{
	if (!user_ok(to, bytes))
		return bytes;
	memset(to, 0, bytes);
	return 0;
}

#define get_user(x, ptr)                                                   \
	({                                                                 \
		__typeof__((__typeof__(*(ptr)))0) value_ = 0;              \
		int fault_ = copy_from_user(&value_, ptr, sizeof(*(ptr))); \
		(x) = value_;                                              \
		fault_ ? -EFAULT : 0;                                      \
	})
#define put_user(x, ptr)                                                  \
	({                                                                \
		__typeof__(*(ptr)) value_ = (x);                          \
		copy_to_user(ptr, &value_, sizeof(value_)) ? -EFAULT : 0; \
	})
#define user_read_access_begin(ptr, bytes)  true
#define user_read_access_end()		    ((void)0)
#define user_write_access_begin(ptr, bytes) true
#define user_write_access_end()		    ((void)0)
#define unsafe_get_user(x, ptr, label) \
	do {                           \
		if (get_user(x, ptr))  \
			goto label;    \
	} while (0)
#define unsafe_put_user(x, ptr, label) \
	do {                           \
		if (put_user(x, ptr))  \
			goto label;    \
	} while (0)
#define u64_to_user_ptr(x)	((void *)(uintptr_t)(x))

/* ---- KVM's memslots ------------------------------------------------------------------------ */

#define KVM_MEM_LOG_DIRTY_PAGES (1u << 0)
#define KVM_MEM_READONLY	(1u << 1)
#define KVM_MEM_GUEST_MEMFD	(1u << 2)
#define KVM_MEMSLOT_INVALID	(1u << 16)

struct kvm_memory_slot {
	gfn_t base_gfn;
	unsigned long npages;
	unsigned long *dirty_bitmap;
	unsigned long userspace_addr;
	u32 flags;
};

#define KVM_SLOTS 32

struct kvm_memslots {
	unsigned int n;
	struct kvm_memory_slot slot[KVM_SLOTS];
};

struct srcu_struct {
	int readers;
};

struct kvm {
	struct kvm_memslots *memslots[1];
	struct srcu_struct srcu;
};

#define srcu_dereference(p, srcu)   (p)
#define srcu_read_lock(srcu)	    ((srcu)->readers++)
#define srcu_read_unlock(srcu, idx) ((void)(idx), (void)(srcu)->readers--)

static inline gfn_t gpa_to_gfn(u64 gpa)
{
	return gpa >> PAGE_SHIFT;
}

static inline u64 gfn_to_gpa(gfn_t gfn)
{
	return gfn << PAGE_SHIFT;
}

static inline struct kvm_memory_slot *
__gfn_to_memslot(struct kvm_memslots *slots, gfn_t gfn)
{
	for (unsigned int i = 0; i < slots->n; i++) {
		struct kvm_memory_slot *slot = &slots->slot[i];

		if (gfn >= slot->base_gfn &&
		    gfn - slot->base_gfn < slot->npages)
			return slot;
	}
	return NULL;
}

static inline unsigned long
__gfn_to_hva_memslot(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	return slot->userspace_addr +
	       array_index_nospec(gfn - slot->base_gfn, slot->npages) *
		       PAGE_SIZE;
}

/* ---- iov_iter: over one piece (ubuf), or several ----------------------------------------------- */

#define ITER_SOURCE 1u
#define ITER_DEST   0u
#define READ	    0
#define WRITE	    1

struct kvec {
	void *iov_base;
	size_t iov_len;
};

struct bio_vec {
	void *page;
	unsigned int len, offset;
};

struct iov_iter {
	bool data_source;
	bool is_ubuf;
	unsigned int nr_segs;
	void *ubuf;
	const struct iovec *iov;
	size_t offset; /* of what has been moved */
	size_t count;
};

static inline bool iter_is_ubuf(const struct iov_iter *iter)
{
	return iter->is_ubuf;
}

static inline size_t iov_iter_count(const struct iov_iter *iter)
{
	return iter->count;
}

static inline int iov_iter_rw(const struct iov_iter *iter)
{
	return iter->data_source ? WRITE : READ;
}

static inline void iov_iter_ubuf(struct iov_iter *iter, unsigned int dir,
				 void *user, size_t bytes)
{
	*iter = (struct iov_iter){
		.data_source = dir,
		.is_ubuf = true,
		.nr_segs = 1,
		.ubuf = user,
		.count = bytes,
	};
}

static inline void iov_iter_init(struct iov_iter *iter, unsigned int dir,
				 const struct iovec *iov, unsigned int n,
				 size_t bytes)
{
	*iter = (struct iov_iter){
		.data_source = dir,
		.nr_segs = n,
		.iov = iov,
		.count = bytes,
	};
}

static inline void iov_iter_kvec(struct iov_iter *iter, unsigned int dir,
				 const struct kvec *kvec, unsigned int n,
				 size_t bytes)
{
	iov_iter_init(iter, dir, (const struct iovec *)kvec, n, bytes);
}

static inline void iov_iter_advance(struct iov_iter *iter, size_t bytes)
{
	BUG_ON(bytes > iter->count);
	iter->offset += bytes;
	iter->count -= bytes;
}

/* What the rest of @iter has at @i: the slow and simple way, for the tests too. */
static inline u8 *iov_iter_at(const struct iov_iter *iter, size_t i)
{
	const struct iovec *iov = iter->iov;

	BUG_ON(i >= iter->count);
	i += iter->offset;
	if (iter->is_ubuf)
		return (u8 *)iter->ubuf + i;
	for (unsigned int n = iter->nr_segs; n; n--, iov++) {
		if (i < iov->iov_len)
			return (u8 *)iov->iov_base + i;
		i -= iov->iov_len;
	}
	BUG_ON("the iterator's count is more than its pieces have");
	return NULL;
}

/* ---- Time: shim.now is that of all clocks -------------------------------------------------------- */

#define KTIME_MAX	     INT64_MAX
#define CLOCK_REALTIME	     0
#define CLOCK_MONOTONIC	     1
#define CLOCK_TAI	     11
#define ktime_get()	     (shim.now)
#define ktime_get_real()     (shim.now)
#define ktime_get_clocktai() (shim.now)

enum hrtimer_mode {
	HRTIMER_MODE_ABS
};

enum hrtimer_restart {
	HRTIMER_NORESTART,
	HRTIMER_RESTART
};

struct hrtimer {
	enum hrtimer_restart (*function)(struct hrtimer *timer);
	clockid_t clock;
	ktime_t expires;
	bool queued;
};

static inline void hrtimer_init(struct hrtimer *timer, clockid_t clock,
				enum hrtimer_mode mode)
{
	BUG_ON(mode != HRTIMER_MODE_ABS || timer->queued);
	timer->clock = clock;
}

static inline void hrtimer_start(struct hrtimer *timer, ktime_t expires,
				 enum hrtimer_mode mode)
{
	BUG_ON(mode != HRTIMER_MODE_ABS || !timer->function || expires < 0);
	timer->expires = expires;
	timer->queued = true;
	shim.hrtimer = timer;
}

static inline int hrtimer_cancel(struct hrtimer *timer)
{
	bool queued = timer->queued;

	timer->queued = false;
	return queued;
}

#define hrtimer_get_expires(timer) ((timer)->expires)
#define hrtimer_cb_get_time(timer) (shim.now)

static inline void hrtimer_add_expires(struct hrtimer *timer, ktime_t time)
{
	if (__builtin_add_overflow(timer->expires, time, &timer->expires))
		timer->expires = KTIME_MAX;
}

/* How many periods it takes to come past the present; the timer moves by them. */
static inline u64 hrtimer_forward_now(struct hrtimer *timer, ktime_t period)
{
	u64 periods;

	BUG_ON(period <= 0 || timer->queued);
	if (shim.now < timer->expires)
		return 0;
	periods = (u64)(shim.now - timer->expires) / period + 1;
	hrtimer_add_expires(timer, (periods - 1) * period);
	hrtimer_add_expires(timer, period);
	return periods;
}

/* ---- Tracepoints: nobody looks ---------------------------------------------------------------------- */

#define TP_PROTO(...) __VA_ARGS__
#define TRACE_DEFINE_ENUM(value)
#define TRACE_EVENT(name, proto, ...)                   \
	static inline void trace_##name(proto)          \
	{                                               \
	}                                               \
	static inline bool trace_##name##_enabled(void) \
	{                                               \
		return false;                           \
	}
#define TRACE_EVENT_FN TRACE_EVENT
#define DECLARE_EVENT_CLASS(class, ...)
#define DEFINE_EVENT(class, name, proto, args) TRACE_EVENT(name, proto)

/* ---- Files ---------------------------------------------------------------------------------------------- */

struct file;

struct kiocb {
	struct file *ki_filp;
	loff_t ki_pos;
	void (*ki_complete)(struct kiocb *iocb, long result);
	int ki_flags;
};

#ifndef EIOCBQUEUED
#define EIOCBQUEUED 529
#endif

#define DECLARE_STATIC_KEY_FALSE(name) extern bool name
#define static_branch_unlikely(key)    (*(key))

#endif
