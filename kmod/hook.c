// SPDX-License-Identifier: GPL-2.0
/*
 * The hook: how a hypercall of a bound VM comes to us, and all else that is
 * KVM's business: registers, exits, sleep.
 *
 * KVM has no registration for hypercalls, so ftrace redirects
 * kvm_emulate_hypercall() if the number is one of ours.  Our function runs the
 * original first: it checks the privilege level, traces, counts and steps over
 * the instruction, and answers -KVM_ENOSYS to a number that it does not know.
 * Only then, and only for a bound VM, do we serve.
 *
 * The table of bound VMs is read under RCU and changed under hook_lock.  A
 * call holds kvm->srcu for reading from before the hook until after it (KVM
 * does that around all exit handlers), so hcall_vm_synchronize() waits for it.
 * Calls of VMs that are not bound pass through our function as well, and
 * hook_inside counts them all, for hcall_hook_detach().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/hashtable.h>
#include <linux/hrtimer.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/static_call.h>

#include "dispatch.h"
#include "internal.h"

#define HOOK_NAME "kvm_emulate_hypercall"

static_assert(KVM_MAX_VCPUS <= HCALL_MAX_VCPUS);

static DEFINE_MUTEX(hook_lock);
static DEFINE_HASHTABLE(hook_table, 6); /* struct hcall_binding */

static DEFINE_PER_CPU(long, hook_inside);

/*
 * The original, from behind its ftrace call: whoever traces it has already
 * seen this call, and we would only meet ourselves there.  BPF trampolines
 * call what they trace in the same way.  A direct call, as static calls are,
 * needs no ENDBR at its target.
 */
static int hook_no_original(struct kvm_vcpu *vcpu)
{
	return -ENXIO;
}

DEFINE_STATIC_CALL(hook_original, hook_no_original);

/* The same with ftrace's call, for hook_prove(). */
DEFINE_STATIC_CALL(hook_hooked, hook_no_original);

/* ---- From the hypercall to the call -------------------------------------- */

/*
 * The first call of a VM: can it be served soundly?  Not if another process
 * made the binding: guest memory is that of kvm->mm, where KVM makes sure that
 * its vCPUs run.  Not if we cannot know its registers and memory, nor if its
 * dirty pages go to a ring, which only KVM can write.  Later calls are not
 * looked at: a launcher that then makes its VM a confidential one, by moving
 * another's context into it, has its guest read and write ciphertext.
 */
static noinline bool hook_accept(struct hcall_binding *binding,
				 struct kvm_vcpu *vcpu)
{
	struct kvm *kvm = vcpu->kvm;

	if (kvm->mm != binding->mm ||
	    kvm->arch.vm_type != KVM_X86_DEFAULT_VM ||
	    vcpu->arch.guest_state_protected || kvm->dirty_ring_size ||
	    /* SEV as it was before VM types. */
	    test_bit(APICV_INHIBIT_REASON_SEV,
		     &kvm->arch.apicv_inhibit_reasons))
		return false;
	WRITE_ONCE(binding->kvm, kvm);
	smp_mb(); /* kvm, then devices: hcall_vm_synchronize() */
	return true;
}

/*
 * The binding of a vCPU's VM, or NULL.  It stays as long as the caller is in
 * the VM's SRCU section.
 */
static __always_inline struct hcall_binding *hook_find(struct kvm_vcpu *vcpu)
{
	struct kvm *kvm = vcpu->kvm;
	struct hcall_binding *binding;

	guard(preempt)(); /* RCU, inline */
	hash_for_each_possible_rcu_notrace(hook_table, binding, node,
					   (unsigned long)kvm) {
		/* Accepted before, or this VM's and accepted now. */
		if (unlikely(READ_ONCE(binding->kvm) != kvm) &&
		    (binding->key != kvm || !hook_accept(binding, vcpu)))
			continue;
		/*
		 * What we are going to do goes through the L1 data cache.  On
		 * a CPU that leaks it to the guest (L1TF), KVM flushes it
		 * before entry if told.  Who moves to another CPU after this
		 * tells it there by itself.
		 */
		kvm_set_cpu_l1tf_flush_l1d();
		return binding;
	}
	return NULL;
}

/*
 * Can others find this vCPU?  Its descriptor works a moment before that, and
 * then nobody could wake it, or take a forwarded call back.
 */
static bool hook_is_online(struct kvm_vcpu *vcpu)
{
	return vcpu->vcpu_idx < atomic_read(&vcpu->kvm->online_vcpus);
}

/* The launcher has answered a forwarded call. */
static int hook_complete_forward(struct kvm_vcpu *vcpu)
{
	u64 result = vcpu->run->hypercall.ret;

	if (!(vcpu->run->hypercall.flags & KVM_EXIT_HYPERCALL_LONG_MODE))
		result = (u32)result;
	vcpu->arch.regs[VCPU_REGS_RAX] = result;
	return 1;
}

static int hook_forward(struct kvm_vcpu *vcpu, const struct hcall_call *call,
			bool long_mode, int ret)
{
	struct kvm_run *run = vcpu->run;

	if (!hook_is_online(vcpu))
		return ret;
	memset(&run->hypercall, 0, sizeof(run->hypercall));
	run->exit_reason = KVM_EXIT_HYPERCALL;
	run->hypercall.nr = call->nr;
	memcpy(run->hypercall.args, call->args, sizeof(call->args));
	/* What the guest sees if the launcher does nothing. */
	run->hypercall.ret = -HCALL_ENOSYS;
	if (long_mode)
		run->hypercall.flags = KVM_EXIT_HYPERCALL_LONG_MODE;
	/* hcall_hook_unbind() takes this back. */
	WRITE_ONCE(vcpu->arch.complete_userspace_io, hook_complete_forward);
	return 0;
}

static int hook_exit(struct kvm_vcpu *vcpu, const struct hcall_call *call)
{
	static const u32 type[] = {
		[HCALL_EXIT_OFF] = KVM_SYSTEM_EVENT_SHUTDOWN,
		[HCALL_EXIT_REBOOT] = KVM_SYSTEM_EVENT_RESET,
		[HCALL_EXIT_PANIC] = KVM_SYSTEM_EVENT_CRASH,
	};
	struct kvm_run *run = vcpu->run;

	memset(&run->system_event, 0, sizeof(run->system_event));
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = type[call->exit_reason];
	run->system_event.ndata = 1;
	run->system_event.data[0] = call->exit_code;
	return 0;
}

/* What a call wants beyond its result. */
static noinline int hook_after(struct kvm_vcpu *vcpu,
			       const struct hcall_call *call, bool long_mode,
			       int ret)
{
	switch (call->after) {
	case HCALL_AFTER_HALT:
		/* KVM's run loop blocks the vCPU, without kvm->srcu. */
		vcpu->arch.mp_state = KVM_MP_STATE_HALTED;
		return ret;
	case HCALL_AFTER_EXIT:
		return hook_exit(vcpu, call);
	default:
		return hook_forward(vcpu, call, long_mode, ret);
	}
}

/* Only the lower halves of the registers are arguments in 32-bit mode. */
static noinline void hook_narrow(struct hcall_call *call)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(call->args); i++)
		call->args[i] = (u32)call->args[i];
}

/* What runs instead of kvm_emulate_hypercall() if the number is ours. */
static int hook_hypercall(struct kvm_vcpu *vcpu)
{
	struct hcall_call call __uninitialized;
	unsigned long *regs = vcpu->arch.regs;
	u64 nr = regs[VCPU_REGS_RAX];
	struct hcall_binding *binding;
	u64 rax, mask = U64_MAX;
	int ret;

	this_cpu_inc(hook_inside);
	ret = static_call(hook_original)(vcpu);

	/* Did nobody answer?  The width of that tells the guest's mode. */
	rax = regs[VCPU_REGS_RAX];
	if (unlikely(rax != (u64)-KVM_ENOSYS)) {
		if (rax != (u32)-KVM_ENOSYS)
			goto out;
		mask = U32_MAX;
	}
	if (unlikely((nr & mask) >> 32 ||
		     vcpu->arch.hflags & (HF_GUEST_MASK | HF_SMM_MASK)))
		goto out;
	binding = hook_find(vcpu);
	if (!binding)
		goto out;

	call.vm = container_of(binding, struct hcall_vm, binding);
	call.vcpu = vcpu;
	call.nr = nr;
	call.door = HCALL_DOOR_REGISTER;
	call.after = HCALL_AFTER_RETURN;
	call.nowait = false;
	call.later = false;
	call.segments = NULL;
	call.bytes = 0;
	call.args[0] = regs[VCPU_REGS_RBX];
	call.args[1] = regs[VCPU_REGS_RCX];
	call.args[2] = regs[VCPU_REGS_RDX];
	call.args[3] = regs[VCPU_REGS_RSI];
	if (unlikely(mask != U64_MAX))
		hook_narrow(&call);
	/* Of a forwarded call this is what the original has answered. */
	regs[VCPU_REGS_RAX] = hcall_dispatch(&call) & mask;
	if (unlikely(call.after != HCALL_AFTER_RETURN))
		ret = hook_after(vcpu, &call, mask == U64_MAX, ret);
out:
	this_cpu_dec(hook_inside);
	return ret;
}

/* See hook_prove(). */
#define HOOK_PROOF 0x6863

static struct kvm_vcpu *hook_nobody;

static int hook_prove_target(struct kvm_vcpu *vcpu)
{
	return HOOK_PROOF;
}

/*
 * ftrace calls this at each kvm_emulate_hypercall().  Calls that are not
 * ours go on at their own speed.
 */
static void notrace hook_callback(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
	struct kvm_vcpu *vcpu = (void *)ftrace_regs_get_argument(fregs, 0);
	u32 nr = vcpu->arch.regs[VCPU_REGS_RAX];

	if (likely(nr >> 16 != HCALL_PREFIX >> 16))
		return;
	if (unlikely(vcpu == hook_nobody))
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)hook_prove_target);
	else
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)hook_hypercall);
}

/* ---- Binding a VM -------------------------------------------------------- */

static bool hook_is_vm(struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(dentry->d_name.name, "kvm-vm");
}

static int hook_publish(struct hcall_vm *vm)
{
	struct hcall_binding *binding = &vm->binding;
	struct hcall_binding *other;

	lockdep_assert_held(&hook_lock);
	hash_for_each_possible(hook_table, other, node,
			       (unsigned long)binding->key) {
		if (other->key == binding->key)
			return -EBUSY;
	}
	/* Programs know of it before its first call. */
	hcall_bpf_bind(vm);
	hash_add_rcu(hook_table, &binding->node, (unsigned long)binding->key);
	return 0;
}

static void hook_unpublish(struct hcall_binding *binding)
{
	mutex_lock(&hook_lock);
	hash_del_rcu(&binding->node);
	mutex_unlock(&hook_lock);
	/* hook_find() may have this binding in its hand, and set kvm. */
	synchronize_rcu_expedited();
}

/**
 * hcall_hook_bind() - from now on the calls of a VM come to @vm
 * @vm:      not bound; its @vm_file will keep the VM
 * @vm_file: what the launcher says is a VM
 *
 * Return: 0; -EINVAL: not a VM; -EBUSY: another instance has it.
 */
int hcall_hook_bind(struct hcall_vm *vm, struct file *vm_file)
{
	struct hcall_binding *binding = &vm->binding;
	int ret;

	if (!hook_is_vm(vm_file))
		return -EINVAL;

	binding->key = vm_file->private_data;
	binding->mm = current->mm;
	binding->kvm = NULL;
	mmgrab(binding->mm);

	mutex_lock(&hook_lock);
	ret = hook_publish(vm);
	mutex_unlock(&hook_lock);
	if (ret)
		mmdrop(binding->mm);
	return ret;
}

/*
 * A vCPU that is with the launcher because of a forwarded call must not come
 * back to a function of a module that may be gone.  It comes back to
 * -KVM_ENOSYS in RAX instead.
 */
static void hook_cancel_forwards(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;
	int idx = srcu_read_lock(&kvm->srcu);

	kvm_for_each_vcpu(i, vcpu, kvm)
		cmpxchg(&vcpu->arch.complete_userspace_io,
			hook_complete_forward, NULL);
	srcu_read_unlock(&kvm->srcu, idx);
}

/**
 * hcall_hook_unbind() - no call of the VM comes to @vm any more
 * @vm: bound
 *
 * When it returns, no vCPU is in our code because of @vm.
 */
void hcall_hook_unbind(struct hcall_vm *vm)
{
	struct hcall_binding *binding = &vm->binding;

	hook_unpublish(binding);
	hcall_vm_synchronize(vm);
	if (binding->kvm) {
		hook_cancel_forwards(binding->kvm);
		/* A vCPU may have taken the pointer just before. */
		hcall_vm_synchronize(vm);
	}
	mmdrop(binding->mm);
}

/**
 * hcall_vm_synchronize() - wait for all calls that may see what is now gone
 * @vm: bound
 */
void hcall_vm_synchronize(struct hcall_vm *vm)
{
	struct kvm *kvm;

	/*
	 * What is gone, then kvm; against hook_find().  If no vCPU has shown
	 * itself by now, the first one will find nothing.
	 */
	smp_mb();
	kvm = READ_ONCE(vm->binding.kvm);
	if (kvm)
		synchronize_srcu_expedited(&kvm->srcu);
}

/* The worker's part of what KVM does around a vCPU's call. */
int hcall_vm_enter(struct hcall_vm *vm)
{
	return srcu_read_lock(&vm->binding.kvm->srcu);
}

void hcall_vm_leave(struct hcall_vm *vm, int idx)
{
	srcu_read_unlock(&vm->binding.kvm->srcu, idx);
}

/* ---- Sleep ---------------------------------------------------------------- */

/**
 * hcall_may_sleep() - can this call end in a sleep like HLT's?
 * @call: the call
 *
 * Return: true for a register call in a VM whose local APICs are KVM's; else
 * nothing could wake the vCPU, or somebody else is waiting for the answer.
 */
bool hcall_may_sleep(const struct hcall_call *call)
{
	return call->door == HCALL_DOOR_REGISTER && call->vcpu->arch.apic &&
	       hook_is_online(call->vcpu);
}

/**
 * hcall_sleep() - put the vCPU to sleep after this call
 * @sleepers: who will be woken
 * @call:     hcall_may_sleep() is true
 *
 * The caller then looks once more whether there is something to do, and if so
 * calls hcall_stay_awake(): what came before this is not told by a wake-up.
 */
void hcall_sleep(struct hcall_sleepers *sleepers, struct hcall_call *call)
{
	set_bit(call->vcpu->vcpu_idx, sleepers->vcpus);
	smp_mb__after_atomic(); /* against hcall_wake(): set, then look */
	call->after = HCALL_AFTER_HALT;
}

void hcall_stay_awake(struct hcall_sleepers *sleepers, struct hcall_call *call)
{
	clear_bit(call->vcpu->vcpu_idx, sleepers->vcpus);
	call->after = HCALL_AFTER_RETURN;
}

static void hook_wake(struct hcall_sleepers *sleepers, unsigned int i)
{
	struct kvm_vcpu *vcpu;

	if (!test_and_clear_bit(i, sleepers->vcpus))
		return;
	/* The bit was set by a vCPU, so there is a kvm and it lives. */
	vcpu = kvm_get_vcpu(READ_ONCE(sleepers->vm->binding.kvm), i);
	if (!vcpu)
		return;
	vcpu->arch.pv.pv_unhalted = true;
	smp_mb(); /* the flag, then the wake-up, which looks at it */
	rcuwait_wake_up(kvm_arch_vcpu_get_wait(vcpu));
}

/**
 * hcall_wake() - wake all who sleep here
 * @sleepers: a device's, or those in WAIT
 *
 * A vCPU that has not yet gone to sleep will not: pv_unhalted is sticky.
 * Context: any.
 */
void hcall_wake(struct hcall_sleepers *sleepers)
{
	struct kvm *kvm;
	unsigned int i;

	smp_mb(); /* the event, then who sleeps; against hcall_sleep() */
	kvm = READ_ONCE(sleepers->vm->binding.kvm);
	if (!kvm)
		return;
	for_each_set_bit(i, sleepers->vcpus, atomic_read(&kvm->online_vcpus))
		hook_wake(sleepers, i);
}

/**
 * hcall_wake_vcpu() - wake one, if it sleeps here
 * @sleepers: as for hcall_wake()
 * @vcpu:     its index
 *
 * Context: any.
 */
void hcall_wake_vcpu(struct hcall_sleepers *sleepers, u32 vcpu)
{
	smp_mb(); /* the event, then who sleeps; against hcall_sleep() */
	hook_wake(sleepers, vcpu);
}

/* The end of a vCPU's sleep, if nothing else ends it before. */
struct hook_alarm {
	struct hrtimer timer;
	struct hcall_sleepers *sleepers;
	u32 vcpu;
};

static enum hrtimer_restart hook_alarm_rings(struct hrtimer *timer)
{
	struct hook_alarm *alarm = container_of(timer, struct hook_alarm, timer);

	hcall_wake_vcpu(alarm->sleepers, alarm->vcpu);
	return HRTIMER_NORESTART;
}

static struct hook_alarm *hook_alarm_of(struct hcall_sleepers *sleepers, u32 vcpu)
{
	struct hook_alarm *alarm = xa_load(&sleepers->alarms, vcpu);
	int ret;

	if (alarm)
		return alarm;
	alarm = kzalloc(sizeof(*alarm), GFP_KERNEL_ACCOUNT);
	if (!alarm)
		return NULL;
	alarm->sleepers = sleepers;
	alarm->vcpu = vcpu;
	hrtimer_setup(&alarm->timer, hook_alarm_rings, CLOCK_MONOTONIC,
		      HRTIMER_MODE_ABS);
	/* Only the vCPU itself adds its own. */
	ret = xa_err(xa_store(&sleepers->alarms, vcpu, alarm,
			      GFP_KERNEL_ACCOUNT));
	if (ret) {
		kfree(alarm);
		return NULL;
	}
	return alarm;
}

/**
 * hcall_sleep_until() - hcall_sleep() with a deadline
 * @sleepers: as for hcall_sleep()
 * @call:     the same
 * @deadline: of CLOCK_MONOTONIC; KTIME_MAX: none
 *
 * A deadline of an earlier sleep that has not come yet is forgotten.
 *
 * Return: 0 or -ENOMEM.
 */
int hcall_sleep_until(struct hcall_sleepers *sleepers, struct hcall_call *call,
		      ktime_t deadline)
{
	u32 vcpu = call->vcpu->vcpu_idx;
	struct hook_alarm *alarm;

	if (deadline == KTIME_MAX) {
		alarm = xa_load(&sleepers->alarms, vcpu);
		if (alarm)
			hrtimer_try_to_cancel(&alarm->timer);
		hcall_sleep(sleepers, call);
		return 0;
	}
	alarm = hook_alarm_of(sleepers, vcpu);
	if (!alarm)
		return -ENOMEM;
	hcall_sleep(sleepers, call);
	hrtimer_start(&alarm->timer, deadline, HRTIMER_MODE_ABS);
	return 0;
}

void hcall_sleepers_init(struct hcall_sleepers *sleepers, struct hcall_vm *vm)
{
	sleepers->vm = vm;
	xa_init_flags(&sleepers->alarms, XA_FLAGS_ACCOUNT);
}

/**
 * hcall_sleepers_free() - nobody sleeps here any more
 * @sleepers: no call can find it
 */
void hcall_sleepers_free(struct hcall_sleepers *sleepers)
{
	struct hook_alarm *alarm;
	unsigned long i;

	hcall_wake(sleepers);
	xa_for_each(&sleepers->alarms, i, alarm) {
		hrtimer_cancel(&alarm->timer);
		kfree(alarm);
	}
	xa_destroy(&sleepers->alarms);
}

/**
 * hcall_vcpus() - how many there are now
 * @vm: in a call
 */
u32 hcall_vcpus(const struct hcall_vm *vm)
{
	return atomic_read(&vm->binding.kvm->online_vcpus);
}

/**
 * hcall_vcpu() - which vCPU makes a call
 * @call: not on the worker
 *
 * Return: its index, below HCALL_MAX_VCPUS.
 */
u32 hcall_vcpu(const struct hcall_call *call)
{
	return call->vcpu->vcpu_idx;
}

/**
 * hcall_vcpu_by_id() - the vCPU that has an initial APIC ID
 * @vm: bound
 * @id: what KVM_CREATE_VCPU was given
 *
 * Return: its index; -ENODEV: none, or no vCPU has made a call yet.
 */
int hcall_vcpu_by_id(struct hcall_vm *vm, u32 id)
{
	struct kvm *kvm = READ_ONCE(vm->binding.kvm);
	struct kvm_vcpu *vcpu;

	if (!kvm || id > INT_MAX)
		return -ENODEV;
	vcpu = kvm_get_vcpu_by_id(kvm, id);
	return vcpu ? vcpu->vcpu_idx : -ENODEV;
}

/* ---- Attaching ------------------------------------------------------------ */

static struct ftrace_ops hook_ops = {
	.func = hook_callback,
	/*
	 * IPMODIFY: we change where the function goes on.  PERMANENT: nobody
	 * can switch us off with sysctl kernel.ftrace_enabled.
	 */
	.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

/*
 * Where ftrace's call in kvm_emulate_hypercall() is.  kallsyms is not for
 * modules, but a kprobe tells its address, with the ENDBR skipped or not.
 */
static u8 __init *hook_find_site(void)
{
	static const u8 endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	struct kprobe probe = { .symbol_name = HOOK_NAME };
	int ret = register_kprobe(&probe);
	u8 *site;

	if (ret) {
		pr_err("cannot find " HOOK_NAME " (%d): is kvm loaded, and are kprobes on (CONFIG_KPROBES)?\n",
		       ret);
		return ERR_PTR(ret);
	}
	site = (u8 *)probe.addr;
	unregister_kprobe(&probe);
	if (!memcmp(site, endbr64, sizeof(endbr64)))
		site += sizeof(endbr64);
	return site;
}

/*
 * ftrace can say 0 and not have patched the function, or not call us: look at
 * its code, then call it for a vCPU that is none.  That must arrive at
 * hook_prove_target(); the original would not survive it, hence the first look.
 */
static int __init hook_prove(const u8 *site)
{
	const u8 call_rel32 = 0xe8;
	struct kvm_vcpu *vcpu;
	int ret = 0;

	if (*site != call_rel32)
		return -ENXIO;
	vcpu = kvzalloc(sizeof(*vcpu), GFP_KERNEL);
	if (!vcpu)
		return -ENOMEM;
	vcpu->arch.regs[VCPU_REGS_RAX] = HCALL_SYS_PROBE;
	hook_nobody = vcpu;
	if (static_call(hook_hooked)(vcpu) != HOOK_PROOF)
		ret = -ENXIO;
	hook_nobody = NULL;
	kvfree(vcpu);
	return ret;
}

/**
 * hcall_hook_attach() - put the hook in place and prove that it holds
 *
 * Context: module init.
 * Return: 0, or an error, told in the kernel log with what to do.
 */
int __init hcall_hook_attach(void)
{
	u8 *site = hook_find_site();
	int tries = 10;
	int ret;

	if (IS_ERR(site))
		return PTR_ERR(site);
	static_call_update(hook_hooked, (void *)site);
	static_call_update(hook_original, (void *)(site + MCOUNT_INSN_SIZE));
	ret = ftrace_set_filter_ip(&hook_ops, (unsigned long)site, 0, 0);
	if (ret) {
		pr_err("ftrace cannot trace " HOOK_NAME " (%d)\n", ret);
		return ret;
	}
	/* A BPF trampoline on the function makes room, but not at once. */
	while ((ret = register_ftrace_function(&hook_ops)) == -EAGAIN &&
	       tries--)
		msleep(20);
	if (ret == -EBUSY)
		pr_err("cannot hook " HOOK_NAME
		       ": ftrace is off (sysctl kernel.ftrace_enabled=1), or a livepatch or kprobe has the function (see /sys/kernel/tracing/enabled_functions)\n");
	else if (ret)
		pr_err("cannot hook " HOOK_NAME " (%d)\n", ret);
	if (ret)
		goto filter;

	ret = hook_prove(site);
	if (ret) {
		pr_err("the hook on " HOOK_NAME
		       " does not hold (%d): ftrace reported success but calls do not arrive; see the kernel log for what stopped ftrace\n",
		       ret);
		goto unregister;
	}
	return 0;

unregister:
	WARN_ON(unregister_ftrace_function(&hook_ops));
filter:
	ftrace_free_filter(&hook_ops);
	return ret;
}

static long hook_count_inside(void)
{
	long inside = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		inside += per_cpu(hook_inside, cpu);
	return inside;
}

/**
 * hcall_hook_detach() - take the hook away
 *
 * Context: module exit.  No instance is open (each holds the module), so no
 * call is served, but a vCPU of any VM may be on its way through our function.
 * First nobody enters it, and ftrace waits until those who were on their way
 * have counted themselves in; then those leave; then whoever stood just behind
 * the count is gone, as nobody sleeps there.
 */
void hcall_hook_detach(void)
{
	int ret = unregister_ftrace_function(&hook_ops);

	if (ret)
		pr_err("cannot unhook " HOOK_NAME
		       " (%d): ftrace is dead, staying loaded until reboot\n",
		       ret);
	/* The function still calls us: to go away would be worse. */
	while (ret)
		ssleep(60);
	ftrace_free_filter(&hook_ops);
	while (hook_count_inside())
		msleep(20);
	synchronize_rcu_tasks();
}

/*
 * Using a symbol of kvm.ko keeps it loaded, and with MODVERSIONS refuses a
 * kernel whose struct kvm is not the one that we were built for.
 */
static void *const hook_pins_kvm __used = kvm_get_kvm_safe;
