// SPDX-License-Identifier: GPL-2.0
/*
 * BPF programs at each call: sets of them (struct hcall_ops, a struct_ops),
 * and the functions that they may call.
 *
 * The sets that calls look at are a list in order, which is replaced as a
 * whole: calls read it under ops_srcu, once on their way in and once on their
 * way out, and not while they are served.  So nobody who takes a set off waits
 * for a disk; who is in both lists has seen both ends of a call.
 *
 * ops_lock serialises all changes.  Order: vm->lock and hook_lock, or the BPF
 * core's lock of links, then ops_lock.  Nobody waits for calls under it: a
 * program may be stuck in a fault of guest memory for as long as that launcher
 * likes.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

#include <linux/kvm_hcall_bpf.h>

#include "dispatch.h"
#include "internal.h"

/* bpf/hcall.bpf.h has the kernel-doc of these two. */
struct hcall_ejection {
	u32 reason;
	u32 vm;
	u32 nr;
	s64 value;
	char text[HCALL_EJECTION_TEXT_BYTES];
};

struct hcall_ops {
	int (*enter)(struct hcall_call *call);
	void (*exit)(struct hcall_call *call);
	s64 (*serve)(struct hcall_call *call);
	void (*attach)(struct hcall_vm *vm);
	void (*detach)(struct hcall_vm *vm);
	void (*ejected)(struct hcall_ejection *why);
	char name[HCALL_OPS_NAME_BYTES];
	u32 vm;
	s32 order;
	u64 classes;
	u64 flags;
	u32 service;
	u64 functions;
};

#define OPS_NO_VM U32_MAX /* no VM has this id */

/**
 * struct ops_set - an attached struct hcall_ops
 * @ops:     the programs; there until ops_unreg() returns
 * @link:    how it is attached; there as long
 * @node:    in ops_sets
 * @leaving: no VM is told to it any more
 * @slot:    its bit in masks
 * @exits:   this bit, if it has exit()
 * @since:   the first list that it is in
 * @vm:      only calls of this one; 0: of all; OPS_NO_VM: it is closed
 * @classes: only calls of these
 * @ejected: bit 0: no call is shown to it any more
 * @why:     the reason; the work's
 * @work:    tells the loader
 * @told:    it has been told
 * @without: memory for the list without this set
 * @refs:    ops_unreg()'s and the work's
 */
struct ops_set {
	const struct hcall_ops *ops;
	struct bpf_link *link;
	struct list_head node;
	bool leaving;
	u32 slot;
	u32 exits;
	u64 since;
	u32 vm;
	DECLARE_BITMAP(classes, 256);
	unsigned long ejected;
	struct hcall_ejection why;
	struct work_struct work;
	bool told;
	struct ops_list *without;
	refcount_t refs;
};

struct ops_list {
	struct rcu_head rcu;
	u64 number; /* of all lists that there were */
	u32 nr;
	struct ops_set *set[HCALL_OPS_MAX];
};

static DEFINE_MUTEX(ops_lock); /* protects all of these against changes */
static LIST_HEAD(ops_sets); /* all that are attached */
static LIST_HEAD(ops_vms); /* struct hcall_vm that are bound */
static u32 ops_slots; /* that are taken */
static u64 ops_lists; /* how many there were */
static struct ops_list ops_none; /* the list of none */
static struct ops_list __rcu *ops_list = (struct ops_list __rcu *)&ops_none;
DEFINE_STATIC_SRCU(ops_srcu);

static struct workqueue_struct *ops_workqueue;

/* ---- Results, and who gives wrong ones ------------------------------------- */

static bool ops_is_error(s64 result)
{
	switch (-result) {
	case HCALL_EPERM:
	case HCALL_EINTR:
	case HCALL_EIO:
	case HCALL_E2BIG:
	case HCALL_EAGAIN:
	case HCALL_ENOMEM:
	case HCALL_EFAULT:
	case HCALL_ENODEV:
	case HCALL_EINVAL:
	case HCALL_ENOSPC:
	case HCALL_EROFS:
	case HCALL_ERANGE:
	case HCALL_EOPNOTSUPP:
	case HCALL_ECANCELED:
	case HCALL_ENOSYS:
		return true;
	default:
		return false;
	}
}

static void ops_put(struct ops_set *set)
{
	if (refcount_dec_and_test(&set->refs))
		kfree(set);
}

static void ops_queue_work(struct ops_set *set)
{
	refcount_inc(&set->refs);
	if (!queue_work(ops_workqueue, &set->work))
		refcount_dec(&set->refs);
}

/* Context: a call, or ops_lock. */
__printf(5, 6)
static void ops_eject(struct ops_set *set, u32 reason,
		      const struct hcall_call *call, s64 value,
		      const char *format, ...)
{
	struct hcall_ejection *why = &set->why;
	va_list args;

	if (test_and_set_bit(0, &set->ejected))
		return;
	why->reason = reason;
	why->vm = call ? call->vm->id : set->ops->vm;
	why->nr = call ? call->nr : 0;
	why->value = value;
	va_start(args, format);
	vscnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	ops_queue_work(set);
}

static void ops_eject_result(struct ops_set *set, const struct hcall_call *call,
			     s64 value, const char *where)
{
	ops_eject(set, HCALL_EJECTED_RESULT, call, value,
		  "%s gave the result %lld to call %#x: less than 0, and no negated HCALL_E*",
		  where, value, call->nr);
}

/* Its loader hears why: by ejected(), and by the end of the link. */
static void ops_work(struct work_struct *work)
{
	struct ops_set *set = container_of(work, struct ops_set, work);
	struct bpf_link *link = ERR_PTR(-ENOENT);

	/* Calls that did not see it was ejected. */
	synchronize_srcu(&ops_srcu);
	scoped_guard(mutex, &ops_lock) {
		if (set->leaving)
			break;
		if (set->ops->ejected && !set->told)
			set->ops->ejected(&set->why);
		set->told = true;
		/* There is nothing left to deny if its VM is closed. */
		if (!(set->ops->flags & HCALL_OPS_FAIL_CLOSED) ||
		    set->vm == OPS_NO_VM)
			link = bpf_link_inc_not_zero(set->link);
	}
	if (!IS_ERR(link)) {
		link->ops->detach(link);
		bpf_link_put(link);
	}
	ops_put(set);
}

/* ---- Calls ----------------------------------------------------------------- */

static __always_inline bool ops_sees(const struct ops_set *set,
				     const struct hcall_call *call)
{
	u32 vm = READ_ONCE(set->vm);

	return (!vm || vm == call->vm->id) &&
	       test_bit(HCALL_NR_CLASS(call->nr), set->classes);
}

static __always_inline bool ops_is_ejected(const struct ops_set *set)
{
	return unlikely(test_bit(0, &set->ejected));
}

/*
 * Ask all who want to know.  @asked: OUT: who will be told of the result.
 * Return: HCALL_OPS_PASS, or what a program said, or HCALL_DEFER
 */
static int ops_enter(struct hcall_call *call, const struct ops_list *list,
		     u32 *asked)
{
	struct ops_set *set;
	int verdict;
	u32 i;

	for (i = 0; i < list->nr; i++) {
		set = list->set[i];
		if (!ops_sees(set, call))
			continue;
		if (ops_is_ejected(set)) {
			if (set->ops->flags & HCALL_OPS_FAIL_CLOSED)
				return -HCALL_EPERM;
			continue;
		}
		*asked |= set->exits;
		if (!set->ops->enter)
			continue;
		/* What the one before has left is not this one's. */
		call->bytes = 0;
		call->result = 0;
		verdict = set->ops->enter(call);
		if (likely(verdict == HCALL_OPS_PASS))
			continue;
		if (verdict == HCALL_OPS_ANSWERED) {
			if (call->result >= 0 || ops_is_error(call->result))
				return verdict;
			ops_eject_result(set, call, call->result, "enter()");
			continue;
		}
		if (verdict < 0 && ops_is_error(verdict))
			return verdict;
		ops_eject(set, HCALL_EJECTED_ENTER, call, verdict,
			  "enter() returned %d to call %#x: not 0, 1 or a negated HCALL_E*",
			  verdict, call->nr);
	}
	return HCALL_OPS_PASS;
}

/* Tell all who were asked, unless they came later than the call. */
static void ops_exit(struct hcall_call *call, const struct ops_list *list,
		     u32 asked, u64 number)
{
	u64 bytes = call->bytes;
	struct ops_set *set;
	s64 result;
	u32 i;

	for (i = list->nr; i-- > 0;) {
		set = list->set[i];
		if (!(asked & set->exits) || set->since > number ||
		    ops_is_ejected(set))
			continue;
		result = call->result;
		set->ops->exit(call);
		if (unlikely(call->result != result)) {
			if (call->after == HCALL_AFTER_FORWARD) {
				call->result = result;
			} else if (call->result < 0 &&
				   !ops_is_error(call->result)) {
				ops_eject_result(set, call, call->result,
						 "exit()");
				call->result = result;
			}
		}
		/* What it copied was not for the guest. */
		call->bytes = bytes;
	}
}

static bool ops_anybody_sees(const struct hcall_call *call,
			     const struct ops_list *list)
{
	u32 i;

	for (i = 0; i < list->nr; i++) {
		if (ops_sees(list->set[i], call))
			return true;
	}
	return false;
}

static void ops_count_denied(struct hcall_call *call)
{
	const struct hcall_service *service =
		hcall_service(HCALL_NR_CLASS(call->nr));
	u32 index = service ? service->index : HCALL_INDEX_OTHER;

	this_cpu_inc(call->vm->stats->of[index].denied);
}

/* Is there a set at all?  Else the rest need not be looked at. */
static bool ops_any(void)
{
	return rcu_access_pointer(ops_list) != &ops_none;
}

/* Return: the result, which programs may change. */
static s64 ops_tell(struct hcall_call *call, s64 result, u32 asked, u64 number)
{
	int idx;

	call->result = result;
	idx = srcu_read_lock(&ops_srcu);
	ops_exit(call, srcu_dereference(ops_list, &ops_srcu), asked, number);
	srcu_read_unlock(&ops_srcu, idx);
	return call->result;
}

/* hcall_bpf_call() if there is a set. */
static s64 ops_call(struct hcall_call *call)
{
	struct hcall_later *later;
	struct ops_list *list;
	u32 asked = 0;
	int verdict, idx;
	u64 number;
	s64 result, told;

	call->asking = true;
	call->delayed_ns = 0;
	idx = srcu_read_lock(&ops_srcu);
	list = srcu_dereference(ops_list, &ops_srcu);
	number = list->number;
	/* Programs may sleep, and are not asked twice. */
	if (unlikely(call->nowait) && ops_anybody_sees(call, list))
		verdict = HCALL_DEFER;
	else
		verdict = ops_enter(call, list, &asked);
	srcu_read_unlock(&ops_srcu, idx);
	call->asking = false;

	if (likely(verdict == HCALL_OPS_PASS)) {
		call->bytes = 0;
		result = hcall_answer(call);
	} else if (verdict == HCALL_DEFER) {
		result = HCALL_DEFER;
	} else {
		result = call->result;
		if (verdict < 0) {
			result = verdict;
			call->bytes = 0;
			ops_count_denied(call);
		}
		/* A program's answer counts as a service's. */
		hcall_count(call, result);
		call->by_program = true;
	}
	if (!asked)
		return result;
	if (unlikely(result == HCALL_DEFER)) {
		later = container_of(call, struct hcall_later, call);
		later->asked = asked;
		later->number = number;
		return result;
	}

	told = ops_tell(call, result, asked, number);
	if (unlikely(told != result))
		call->by_program = true;
	return told;
}

/**
 * hcall_bpf_call() - hcall_answer() with the programs that are attached
 * @call: as for hcall_dispatch()
 *
 * Context, Return: as hcall_dispatch().
 */
s64 hcall_bpf_call(struct hcall_call *call)
{
	/* Perhaps only tracepoints watch. */
	return ops_any() ? ops_call(call) : hcall_answer(call);
}

/**
 * hcall_bpf_finish() - tell the programs that a call's answer has come
 * @later:  the call
 * @result: its answer
 *
 * Context, Return: as hcall_dispatch(), but never HCALL_DEFER.
 */
s64 hcall_bpf_finish(struct hcall_later *later, s64 result)
{
	if (!later->asked)
		return result;
	return ops_tell(&later->call, result, later->asked, later->number);
}

/* ---- Classes that programs serve --------------------------------------------- */

/* Who serves a class for a VM, or NULL. */
static struct ops_set *ops_server(const struct hcall_vm *vm, u32 class_id)
{
	const struct ops_list *list = srcu_dereference(ops_list, &ops_srcu);
	u32 i;

	for (i = 0; i < list->nr; i++) {
		struct ops_set *set = list->set[i];
		u32 only = READ_ONCE(set->vm);

		if (set->ops->serve && set->ops->service == class_id &&
		    (!only || only == vm->id))
			return set;
	}
	return NULL;
}

/**
 * hcall_bpf_functions() - what PROBE says of a class that the kernel does not know
 * @vm:       the caller's
 * @class_id: the class
 *
 * Return: a bit for each function; 0 if nobody serves it.
 */
u64 hcall_bpf_functions(struct hcall_vm *vm, u32 class_id)
{
	struct ops_set *set;

	if (!ops_any())
		return 0;
	guard(srcu)(&ops_srcu);
	set = ops_server(vm, class_id);
	return set && !ops_is_ejected(set) ? set->ops->functions : 0;
}

/**
 * hcall_bpf_serve() - answer a call of a class that the kernel does not know
 * @call: the call
 *
 * Context: as hcall_dispatch().
 * Return: the guest's result, -HCALL_ENOSYS if nobody serves it, or HCALL_DEFER.
 */
s64 hcall_bpf_serve(struct hcall_call *call)
{
	u32 function = HCALL_NR_FUNCTION(call->nr);
	struct ops_set *set;
	s64 result;

	if (!ops_any())
		return -HCALL_ENOSYS;
	guard(srcu)(&ops_srcu);
	set = ops_server(call->vm, HCALL_NR_CLASS(call->nr));
	if (!set)
		return -HCALL_ENOSYS;
	if (call->nowait)
		return HCALL_DEFER;
	if (ops_is_ejected(set))
		return set->ops->flags & HCALL_OPS_FAIL_CLOSED ? -HCALL_EPERM :
								 -HCALL_ENOSYS;
	if (function > 62 || !(set->ops->functions & BIT_ULL(function)))
		return -HCALL_ENOSYS;
	/* hcall_bpf_call() has not, if the set came just now. */
	call->asking = false;
	call->delayed_ns = 0;
	call->result = 0;
	result = set->ops->serve(call);
	if (result >= 0 || ops_is_error(result))
		return result;
	ops_eject_result(set, call, result, "serve()");
	return -HCALL_EIO;
}

/* ---- VMs come and go --------------------------------------------------------- */

static void ops_tell_attach(struct ops_set *set, struct hcall_vm *vm)
{
	lockdep_assert_held(&ops_lock);
	if (set->vm && set->vm != vm->id)
		return;
	vm->told |= BIT(set->slot);
	if (set->ops->attach && !ops_is_ejected(set))
		set->ops->attach(vm);
}

static void ops_tell_detach(struct ops_set *set, struct hcall_vm *vm)
{
	lockdep_assert_held(&ops_lock);
	if (!(vm->told & BIT(set->slot)))
		return;
	vm->told &= ~BIT(set->slot);
	if (set->ops->detach && !ops_is_ejected(set))
		set->ops->detach(vm);
}

/**
 * hcall_bpf_bind() - a VM is there
 * @vm: has not made a call yet
 */
void hcall_bpf_bind(struct hcall_vm *vm)
{
	struct ops_set *set;

	guard(mutex)(&ops_lock);
	list_add_tail(&vm->node, &ops_vms);
	list_for_each_entry(set, &ops_sets, node) {
		if (!set->leaving)
			ops_tell_attach(set, vm);
	}
}

/**
 * hcall_bpf_unbind() - it goes
 * @vm: makes no call any more
 */
void hcall_bpf_unbind(struct hcall_vm *vm)
{
	struct ops_set *set;

	guard(mutex)(&ops_lock);
	list_del(&vm->node);
	list_for_each_entry(set, &ops_sets, node) {
		ops_tell_detach(set, vm);
		if (set->vm != vm->id)
			continue;
		/* The next VM with this id is another one. */
		WRITE_ONCE(set->vm, OPS_NO_VM);
		if (ops_is_ejected(set))
			ops_queue_work(set);
		else
			ops_eject(set, HCALL_EJECTED_VM_CLOSED, NULL, 0,
				  "VM %u is closed", vm->id);
	}
}

/* ---- Attaching --------------------------------------------------------------- */

static void ops_free_list(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct ops_list, rcu));
}

/* Calls that come from now on see @next; the one before is freed when it can be. */
static void ops_publish(struct ops_list *next)
{
	struct ops_list *list = rcu_dereference_protected(ops_list,
							  lockdep_is_held(&ops_lock));

	next->number = ++ops_lists;
	if (!next->nr) {
		kfree(next);
		next = &ops_none;
	}
	rcu_assign_pointer(ops_list, next);
	if (list != &ops_none)
		call_srcu(&ops_srcu, &list->rcu, ops_free_list);
}

/* @next: the list that there is, with @add in its place, or without @drop. */
static void ops_change(struct ops_list *next, struct ops_set *add,
		       struct ops_set *drop)
{
	const struct ops_list *list = rcu_dereference_protected(ops_list,
								lockdep_is_held(&ops_lock));
	u32 i;

	for (i = 0; i < list->nr; i++) {
		struct ops_set *set = list->set[i];

		if (add && set->ops->order > add->ops->order) {
			next->set[next->nr++] = add;
			add = NULL;
		}
		if (set != drop)
			next->set[next->nr++] = set;
	}
	if (add)
		next->set[next->nr++] = add;
	ops_publish(next);
}

static bool ops_vm_is_there(u32 id)
{
	struct hcall_vm *vm;

	list_for_each_entry(vm, &ops_vms, node) {
		if (vm->id == id)
			return true;
	}
	return false;
}

/* Would a guest have two who serve a class? */
static bool ops_conflict(const struct hcall_ops *ops)
{
	struct ops_set *set;

	if (!ops->serve)
		return false;
	list_for_each_entry(set, &ops_sets, node) {
		if (set->ops->serve && set->ops->service == ops->service &&
		    (!set->vm || !ops->vm || set->vm == ops->vm))
			return true;
	}
	return false;
}

static int ops_admit(struct ops_set *set, struct ops_list *next)
{
	const struct hcall_ops *ops = set->ops;
	struct hcall_vm *vm;

	guard(mutex)(&ops_lock);
	if (ops->vm && !ops_vm_is_there(ops->vm))
		return -ENOENT;
	if (ops_conflict(ops))
		return -EBUSY;
	if (ops_slots == GENMASK(HCALL_OPS_MAX - 1, 0))
		return -ENOSPC;
	set->slot = ffz(ops_slots);
	if (ops->exit)
		set->exits = BIT(set->slot);
	ops_slots |= BIT(set->slot);
	list_add_tail(&set->node, &ops_sets);
	list_for_each_entry(vm, &ops_vms, node)
		ops_tell_attach(set, vm);
	set->since = ops_lists + 1;
	ops_change(next, set, NULL);
	return 0;
}

static void ops_set_classes(struct ops_set *set)
{
	const struct hcall_ops *ops = set->ops;
	u32 class_id;

	if (!ops->enter && !ops->exit)
		return;
	for (class_id = 0; class_id < 256; class_id++) {
		if (!ops->classes || ops->classes & HCALL_CLASS_BIT(class_id))
			__set_bit(class_id, set->classes);
	}
}

static int ops_reg(void *kdata, struct bpf_link *link)
{
	struct ops_list *next;
	struct ops_set *set;
	int ret;

	if (!link)
		return -EOPNOTSUPP;
	set = kzalloc(sizeof(*set), GFP_KERNEL);
	next = kzalloc(sizeof(*next), GFP_KERNEL);
	if (set)
		set->without = kzalloc(sizeof(*set->without), GFP_KERNEL);
	if (!set || !next || !set->without) {
		ret = -ENOMEM;
		goto free;
	}
	set->ops = kdata;
	set->link = link;
	set->vm = set->ops->vm;
	ops_set_classes(set);
	INIT_WORK(&set->work, ops_work);
	refcount_set(&set->refs, 1);
	/* First, so that from the moment that it is published all calls look. */
	hcall_watch();
	ret = ops_admit(set, next);
	if (ret) {
		hcall_unwatch();
		goto free;
	}
	return 0;

free:
	kfree(next);
	if (set)
		kfree(set->without);
	kfree(set);
	return ret;
}

/* By link, as the same programs can be attached more than once. */
static struct ops_set *ops_find(const struct bpf_link *link)
{
	struct ops_set *set;

	list_for_each_entry(set, &ops_sets, node) {
		if (set->link == link)
			return set;
	}
	return NULL;
}

/* Unpublish, wait for the calls, tell it of the VMs that it loses, free. */
static void ops_unreg(void *kdata, struct bpf_link *link)
{
	struct ops_set *set;
	struct hcall_vm *vm;

	scoped_guard(mutex, &ops_lock) {
		set = ops_find(link);
		set->leaving = true;
		ops_change(set->without, NULL, set);
	}
	synchronize_srcu_expedited(&ops_srcu);
	scoped_guard(mutex, &ops_lock) {
		list_for_each_entry(vm, &ops_vms, node)
			ops_tell_detach(set, vm);
		list_del(&set->node);
		ops_slots &= ~BIT(set->slot);
	}
	hcall_unwatch();
	ops_put(set);
}

static bool ops_name_ok(const char *name)
{
	size_t i, len = strnlen(name, HCALL_OPS_NAME_BYTES);

	if (!len || len == HCALL_OPS_NAME_BYTES)
		return false;
	for (i = 0; i < len; i++) {
		if (!isascii(name[i]) || !isgraph(name[i]))
			return false;
	}
	return true;
}

static int ops_validate(void *kdata)
{
	const struct hcall_ops *ops = kdata;

	if (!ops_name_ok(ops->name) || ops->flags & ~(u64)HCALL_OPS_FAIL_CLOSED)
		return -EINVAL;
	if (!ops->enter && !ops->exit && !ops->serve && !ops->attach &&
	    !ops->detach)
		return -EINVAL;
	if (!ops->serve)
		return ops->service || ops->functions ? -EINVAL : 0;
	if (ops->service < HCALL_CLASS_BPF_FIRST ||
	    ops->service > HCALL_CLASS_BPF_LAST ||
	    !ops->functions || ops->functions > S64_MAX)
		return -EINVAL;
	return 0;
}

/* Functions are not ours to copy; all else comes behind them. */
static int ops_init_member(const struct btf_type *type,
			   const struct btf_member *member, void *kdata,
			   const void *udata)
{
	size_t data = offsetof(struct hcall_ops, name);
	u32 at = __btf_member_bit_offset(type, member) / BITS_PER_BYTE;

	if (at < data)
		return 0;
	if (at == data)
		memcpy(kdata + data, udata + data,
		       sizeof(struct hcall_ops) - data);
	return 1;
}

static int ops_init(struct btf *btf)
{
	return 0;
}

/*
 * Those that see calls may be sleepable.  The others are called under ops_lock,
 * in the thread of a launcher, too: its memory may make them wait for ever.
 */
static int ops_check_member(const struct btf_type *type,
			    const struct btf_member *member,
			    const struct bpf_prog *prog)
{
	switch (__btf_member_bit_offset(type, member) / BITS_PER_BYTE) {
	case offsetof(struct hcall_ops, attach):
	case offsetof(struct hcall_ops, detach):
	case offsetof(struct hcall_ops, ejected):
		return prog->sleepable ? -EINVAL : 0;
	default:
		return 0;
	}
}

/* Never called: the BPF core takes the type of each function, and CFI its hash. */
static int ops_enter_type(struct hcall_call *call)
{
	return HCALL_OPS_PASS;
}

static void ops_exit_type(struct hcall_call *call)
{
}

static s64 ops_serve_type(struct hcall_call *call)
{
	return -HCALL_ENOSYS;
}

static void ops_vm_type(struct hcall_vm *vm)
{
}

static void ops_ejected_type(struct hcall_ejection *why)
{
}

static struct hcall_ops ops_types = {
	.enter = ops_enter_type,
	.exit = ops_exit_type,
	.serve = ops_serve_type,
	.attach = ops_vm_type,
	.detach = ops_vm_type,
	.ejected = ops_ejected_type,
};

/* Programs read what they are given, and change it by the functions below. */
static const struct bpf_verifier_ops ops_verifier = {
	.get_func_proto = bpf_base_func_proto,
	.is_valid_access = bpf_tracing_btf_ctx_access,
};

static struct bpf_struct_ops ops_struct_ops = {
	.name = "hcall_ops",
	.owner = THIS_MODULE,
	.verifier_ops = &ops_verifier,
	.cfi_stubs = &ops_types,
	.init = ops_init,
	.init_member = ops_init_member,
	.check_member = ops_check_member,
	.validate = ops_validate,
	.reg = ops_reg,
	.unreg = ops_unreg,
};

/* ---- What programs can call; the kernel-doc is in bpf/hcall.bpf.h ----------------- */

__bpf_kfunc_start_defs();

__bpf_kfunc int hcall_bpf_set_arg(struct hcall_call *call, u32 index, u64 value)
{
	if (index >= ARRAY_SIZE(call->args) || !call->asking)
		return -EINVAL;
	call->args[array_index_nospec(index, ARRAY_SIZE(call->args))] = value;
	return 0;
}

__bpf_kfunc void hcall_bpf_set_result(struct hcall_call *call, s64 result)
{
	call->result = result;
}

__bpf_kfunc int hcall_bpf_read(struct hcall_call *call, u64 gpa, void *to,
			       u32 to__sz)
{
	int ret;

	if (to__sz > HCALL_BPF_MAX_BYTES)
		return -E2BIG;
	ret = hcall_read(call->vm, gpa, to, to__sz);
	if (!ret)
		call->bytes += to__sz;
	return ret;
}

__bpf_kfunc int hcall_bpf_write(struct hcall_call *call, u64 gpa,
				const void *from, u32 from__sz)
{
	int ret;

	if (from__sz > HCALL_BPF_MAX_BYTES)
		return -E2BIG;
	ret = hcall_write(call->vm, gpa, from, from__sz);
	if (!ret)
		call->bytes += from__sz;
	return ret;
}

__bpf_kfunc int hcall_bpf_fire(struct hcall_call *call, u32 channel)
{
	if (channel >= HCALL_CHANNELS)
		return -EINVAL;
	return hcall_fire(call->vm, channel);
}

__bpf_kfunc int hcall_bpf_vcpu(struct hcall_call *call)
{
	return call->vcpu ? hcall_vcpu(call) : -1;
}

__bpf_kfunc void hcall_bpf_vm(struct hcall_call *call, struct hcall_bpf_vm *info)
{
	const struct hcall_vm *vm = call->vm;

	*info = (struct hcall_bpf_vm){
		.id = vm->id,
		.pid = vm->pid,
		.vcpus = hcall_vcpus(vm),
		.flags = READ_ONCE(vm->sealed) ? HCALL_BPF_VM_SEALED : 0,
	};
	static_assert(sizeof(info->comm) == sizeof(vm->comm));
	memcpy(info->comm, vm->comm, sizeof(info->comm));
}

__bpf_kfunc int hcall_bpf_device(struct hcall_call *call, u32 class_id,
				 u32 unit, struct hcall_device *info)
{
	/* A program may have both numbers from the guest. */
	const struct hcall_service *service =
		class_id < 256 ? hcall_service(array_index_nospec(class_id, 256)) :
				 NULL;
	struct hcall_dev *dev =
		service && service->add ?
			hcall_dev(call, service->index, unit) : NULL;

	memset(info, 0, sizeof(*info));
	if (!dev)
		return -ENODEV;
	hcall_dev_describe(dev, info);
	return 0;
}

__bpf_kfunc int hcall_bpf_delay(struct hcall_call *call, u64 ns)
{
	ktime_t until;
	int ret;

	if (ns > HCALL_BPF_MAX_DELAY_NS - call->delayed_ns)
		return -EINVAL;
	call->delayed_ns += ns;
	until = ktime_add_ns(ktime_get(), ns);
	do {
		set_current_state(TASK_KILLABLE);
		if (fatal_signal_pending(current)) {
			__set_current_state(TASK_RUNNING);
			return -EINTR;
		}
		ret = schedule_hrtimeout_range(&until, 0, HRTIMER_MODE_ABS);
	} while (ret);
	return 0;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(ops_kfunc_ids)
BTF_ID_FLAGS(func, hcall_bpf_set_arg, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, hcall_bpf_set_result, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, hcall_bpf_read, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_ID_FLAGS(func, hcall_bpf_write, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_ID_FLAGS(func, hcall_bpf_fire, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, hcall_bpf_vcpu, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, hcall_bpf_vm, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, hcall_bpf_device, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_ID_FLAGS(func, hcall_bpf_delay, KF_TRUSTED_ARGS | KF_SLEEPABLE)
BTF_KFUNCS_END(ops_kfunc_ids)

static const struct btf_kfunc_id_set ops_kfuncs = {
	.owner = THIS_MODULE,
	.set = &ops_kfunc_ids,
};

/* ---- Loading and unloading --------------------------------------------------------- */

static bool ops_have_btf(void)
{
#ifdef CONFIG_DEBUG_INFO_BTF_MODULES
	return THIS_MODULE->btf_data_size;
#else
	return false;
#endif
}

/**
 * hcall_bpf_init() - what programs need before there can be any
 *
 * Return: 0 or -ENOMEM.
 */
int __init hcall_bpf_init(void)
{
	ops_workqueue = alloc_workqueue("hcall_bpf", WQ_UNBOUND, 0);
	return ops_workqueue ? 0 : -ENOMEM;
}

/**
 * hcall_bpf_register() - from now on programs can be attached
 *
 * The kernel takes back what is registered here when the module goes.  If it
 * cannot be had, everything else works, so that is no error.
 */
void __init hcall_bpf_register(void)
{
	int ret;

	if (!ops_have_btf()) {
		pr_notice("built or loaded without BTF: no BPF programs (struct hcall_ops), all else works\n");
		return;
	}
	ret = register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS, &ops_kfuncs);
	if (!ret)
		ret = register_bpf_struct_ops(&ops_struct_ops, hcall_ops);
	if (ret)
		pr_notice("this kernel takes no BPF programs from us (error %d), all else works\n",
			  ret);
}

/* An attached set holds the module, so there is none. */
void hcall_bpf_exit(void)
{
	destroy_workqueue(ops_workqueue);
	srcu_barrier(&ops_srcu);
}
