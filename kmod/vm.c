// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/kvm-hcall: an open file is an instance, and its ioctls set it up.
 *
 * All ioctls of an instance are serialised by vm->lock.  Calls read devices
 * and policy without a lock; see internal.h for how things are taken away.
 */
#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/etherdevice.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "trace.h"

static DEFINE_IDA(vm_ids);

static int vm_open(struct inode *inode, struct file *file)
{
	struct hcall_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	int id;

	if (!vm)
		return -ENOMEM;
	vm->stats = alloc_percpu_gfp(struct hcall_stats, GFP_KERNEL_ACCOUNT);
	id = ida_alloc_min(&vm_ids, 1, GFP_KERNEL);
	if (!vm->stats || id < 0 || hcall_timers_init(vm)) {
		if (id >= 0)
			ida_free(&vm_ids, id);
		free_percpu(vm->stats);
		kfree(vm);
		return -ENOMEM;
	}
	vm->id = id;
	vm->pid = task_tgid_nr(current);
	get_task_comm(vm->comm, current->group_leader);
	mutex_init(&vm->lock);
	hcall_events_init(vm);
	hcall_workers_init(vm);
	hcall_async_init(vm);
	file->private_data = vm;
	return 0;
}

/*
 * Nothing finds it any more.  Its requests use its file, and its file wakes its
 * front.
 */
static void vm_free_dev(struct hcall_dev *dev)
{
	struct hcall_front *front = dev->front;

	trace_hcall_device_detach(dev);
	hcall_front_stop(front);
	dev->service->remove(dev);
	hcall_front_free(front);
}

/*
 * Unpublish and wait for the calls (unbind), stop what works for them (workers),
 * then what fires channels (timers, devices), then let go of the channels, and at
 * last of the VM itself.
 */
static int vm_release(struct inode *inode, struct file *file)
{
	struct hcall_vm *vm = file->private_data;
	struct hcall_dev **dev = &vm->dev[0][0];
	unsigned int i;

	if (vm->vm_file) {
		hcall_hook_unbind(vm);
		hcall_workers_stop(vm);
		hcall_async_drop(vm);
		hcall_bpf_unbind(vm);
	}
	hcall_timers_free(vm);
	for (i = 0; i < HCALL_NR_INDEX * KVM_HCALL_MAX_UNITS; i++) {
		if (!dev[i])
			continue;
		vm_free_dev(dev[i]);
	}
	hcall_front_stop(vm->rng);
	hcall_front_free(vm->rng);
	hcall_events_free(vm);
	if (vm->vm_file)
		fput(vm->vm_file);
	free_percpu(vm->stats);
	mutex_destroy(&vm->lock);
	ida_free(&vm_ids, vm->id);
	kfree(vm);
	return 0;
}

static long vm_bind(struct hcall_vm *vm, const struct kvm_hcall_bind *bind)
{
	struct file *file;
	int ret;

	if (bind->flags || memchr_inv(bind->reserved, 0, sizeof(bind->reserved)))
		return -EINVAL;
	if (vm->vm_file)
		return -EBUSY;
	file = fget(bind->vm_fd);
	if (!file)
		return -EBADF;
	ret = hcall_hook_bind(vm, file);
	if (ret) {
		fput(file);
		return ret;
	}
	vm->vm_file = file;
	return 0;
}

/* A service that has devices. */
static const struct hcall_service *device_service(u32 class_id)
{
	const struct hcall_service *service =
		class_id < 256 ? hcall_service(class_id) : NULL;

	return service && service->add ? service : NULL;
}

static bool name_ok(const char *name)
{
	size_t len = strnlen(name, KVM_HCALL_NAME_BYTES);
	size_t i;

	if (!len || len == KVM_HCALL_NAME_BYTES ||
	    memchr_inv(name + len, 0, KVM_HCALL_NAME_BYTES - len))
		return false;
	for (i = 0; i < len; i++) {
		if (!isascii(name[i]) || !isgraph(name[i]))
			return false;
	}
	return true;
}

/**
 * hcall_channel() - the channel of a device
 * @index: HCALL_INDEX_* of its class
 * @unit:  its number
 *
 * They come after those of the timers.
 */
u32 hcall_channel(u32 index, u32 unit)
{
	static_assert(HCALL_TIMERS + (HCALL_INDEX_OTHER - 1) * KVM_HCALL_MAX_UNITS <=
		      HCALL_CHANNEL_GUEST);
	return HCALL_TIMERS + (index - 1) * KVM_HCALL_MAX_UNITS + unit;
}

/**
 * hcall_dev_init() - what all devices have, before it can fire or be found
 * @dev:     the device
 * @service: whose
 * @vm:      whose
 * @add:     validated, @unit is the device's
 */
void hcall_dev_init(struct hcall_dev *dev, const struct hcall_service *service,
		    struct hcall_vm *vm, const struct kvm_hcall_add *add)
{
	dev->service = service;
	dev->vm = vm;
	dev->unit = add->unit;
	dev->channel = hcall_channel(service->index, add->unit);
	memcpy(dev->name, add->name, sizeof(dev->name));
}

/*
 * What a class has no use for is 0, so that it may mean something one day.
 */
static bool add_unused_ok(const struct kvm_hcall_add *add)
{
	bool console = add->class_id == HCALL_CLASS_CONSOLE;
	bool input = add->class_id == HCALL_CLASS_INPUT;
	bool net = add->class_id == HCALL_CLASS_NET;

	return (console || !(add->columns || add->rows)) &&
	       (input || !add->input) && (input || net || !add->buffer) &&
	       (net || (!add->mtu && is_zero_ether_addr(add->mac) &&
			!add->queues));
}

static long vm_add(struct hcall_vm *vm, struct kvm_hcall_add *add)
{
	const struct hcall_service *service = device_service(add->class_id);
	struct hcall_dev **unit, *dev;
	u32 i, at = KVM_HCALL_MAX_UNITS;

	if (add->unit || !service || !name_ok(add->name) ||
	    !add_unused_ok(add))
		return -EINVAL;
	if (!vm->vm_file)
		return -ENOTCONN;
	if (vm->sealed)
		return -EPERM;

	unit = vm->dev[service->index];
	for (i = KVM_HCALL_MAX_UNITS; i-- > 0;) {
		if (!unit[i])
			at = i;
		else if (!strcmp(unit[i]->name, add->name))
			return -EEXIST;
	}
	if (at == KVM_HCALL_MAX_UNITS)
		return -ENOSPC;

	add->unit = at;
	dev = service->add(vm, add);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	/* A call that finds it finds all of it. */
	smp_store_release(&unit[at], dev);
	trace_hcall_device_attach(dev);
	if (service->ready && service->ready(dev))
		hcall_fire(vm, dev->channel);
	return 0;
}

static struct hcall_dev **find_unit(struct hcall_vm *vm, u32 class_id, u32 unit)
{
	const struct hcall_service *service = device_service(class_id);

	if (!service || unit >= KVM_HCALL_MAX_UNITS)
		return NULL;
	unit = array_index_nospec(unit, KVM_HCALL_MAX_UNITS);
	return vm->dev[service->index][unit] ? &vm->dev[service->index][unit] :
					       NULL;
}

static long vm_remove(struct hcall_vm *vm, const struct kvm_hcall_remove *remove)
{
	struct hcall_dev **unit = find_unit(vm, remove->class_id, remove->unit);
	struct hcall_dev *dev;

	if (remove->flags ||
	    memchr_inv(remove->reserved, 0, sizeof(remove->reserved)))
		return -EINVAL;
	if (!unit)
		return -ENODEV;
	dev = *unit;
	WRITE_ONCE(*unit, NULL);
	hcall_vm_synchronize(vm);
	hcall_fire(vm, dev->channel);
	vm_free_dev(dev);
	return 0;
}

static long vm_resize(struct hcall_vm *vm, const struct kvm_hcall_resize *resize)
{
	struct hcall_dev **unit = find_unit(vm, resize->class_id, resize->unit);
	int ret;

	if (resize->flags ||
	    memchr_inv(resize->reserved, 0, sizeof(resize->reserved)))
		return -EINVAL;
	if (!unit)
		return -ENODEV;
	if (!(*unit)->service->resize)
		return -EINVAL;
	ret = (*unit)->service->resize(*unit, resize);
	if (!ret)
		hcall_fire(vm, (*unit)->channel);
	return ret;
}

static long vm_link(struct hcall_vm *vm, const struct kvm_hcall_link *link)
{
	struct hcall_dev **unit = find_unit(vm, HCALL_CLASS_NET, link->unit);
	int ret;

	if (link->flags & ~KVM_HCALL_LINK_UP ||
	    memchr_inv(link->reserved, 0, sizeof(link->reserved)))
		return -EINVAL;
	if (!unit)
		return -ENODEV;
	ret = (*unit)->service->link(*unit, link);
	if (!ret)
		hcall_fire(vm, (*unit)->channel);
	return ret;
}

static long vm_route(struct hcall_vm *vm, const struct kvm_hcall_route *route)
{
	struct eventfd_ctx *eventfd = NULL;
	u32 vcpu = HCALL_VCPU_ANY;
	int ret;

	static_assert(HCALL_VCPU_ANY == KVM_HCALL_VCPU_ANY);
	if (route->flags || route->channel >= HCALL_CHANNELS || route->fd < -1 ||
	    memchr_inv(route->reserved, 0, sizeof(route->reserved)))
		return -EINVAL;
	if (!vm->vm_file)
		return -ENOTCONN;
	if (route->vcpu != KVM_HCALL_VCPU_ANY) {
		ret = hcall_vcpu_by_id(vm, route->vcpu);
		if (ret < 0)
			return ret;
		vcpu = ret;
	}
	if (route->fd != -1) {
		eventfd = eventfd_ctx_fdget(route->fd);
		if (IS_ERR(eventfd))
			return PTR_ERR(eventfd);
	}
	ret = hcall_route_set(vm, route->channel, vcpu, eventfd);
	if (ret && eventfd)
		eventfd_ctx_put(eventfd);
	return ret;
}

static long vm_raise(struct hcall_vm *vm, const struct kvm_hcall_raise *raise)
{
	if (raise->flags || raise->channel >= HCALL_CHANNELS || raise->reserved)
		return -EINVAL;
	if (!vm->vm_file)
		return -ENOTCONN;
	hcall_fire(vm, raise->channel);
	return 0;
}

static long vm_policy(struct hcall_vm *vm, const struct kvm_hcall_policy *policy)
{
	bool forward = policy->action == KVM_HCALL_FORWARD;
	u32 class_id;

	if (policy->flags || policy->reserved || policy->reserved2 ||
	    policy->class_id > 255 || policy->action > KVM_HCALL_FORWARD)
		return -EINVAL;
	if (forward && (policy->class_id == HCALL_CLASS_SYS ||
			policy->functions > S64_MAX))
		return -EINVAL;
	if (!forward && policy->functions)
		return -EINVAL;
	if (vm->sealed)
		return -EPERM;
	class_id = array_index_nospec(policy->class_id, ARRAY_SIZE(vm->policy));
	WRITE_ONCE(vm->functions[class_id], policy->functions);
	WRITE_ONCE(vm->policy[class_id], policy->action);
	return 0;
}

static long vm_stats(struct hcall_vm *vm, struct kvm_hcall_stats *stats)
{
	const struct hcall_service *service;
	u32 index = HCALL_INDEX_OTHER;
	int cpu;

	if (stats->flags || stats->class_id > 255 ||
	    memchr_inv(stats->reserved, 0, sizeof(stats->reserved)))
		return -EINVAL;
	service = hcall_service(stats->class_id);
	if (service)
		index = service->index;
	*stats = (struct kvm_hcall_stats){ .class_id = stats->class_id };
	for_each_possible_cpu(cpu) {
		const struct hcall_counts *of =
			&per_cpu_ptr(vm->stats, cpu)->of[index];

		stats->calls += READ_ONCE(of->calls);
		stats->errors += READ_ONCE(of->errors);
		stats->bytes += READ_ONCE(of->bytes);
		stats->denied += READ_ONCE(of->denied);
		stats->forwarded += READ_ONCE(of->forwarded);
	}
	return 0;
}

static long vm_seal(struct hcall_vm *vm)
{
	if (!vm->vm_file)
		return -ENOTCONN;
	vm->sealed = true;
	return 0;
}

/* What an ioctl's argument is, copied in once and out if the command says so. */
union vm_argument {
	struct kvm_hcall_bind bind;
	struct kvm_hcall_add add;
	struct kvm_hcall_remove remove;
	struct kvm_hcall_resize resize;
	struct kvm_hcall_policy policy;
	struct kvm_hcall_stats stats;
	struct kvm_hcall_route route;
	struct kvm_hcall_raise raise;
	struct kvm_hcall_link link;
};

static long vm_command(struct hcall_vm *vm, unsigned int command,
		       union vm_argument *argument)
{
	lockdep_assert_held(&vm->lock);

	/* What it says of memory and descriptors is of another process. */
	if (vm->vm_file && vm->binding.mm != current->mm)
		return -EIO;
	switch (command) {
	case KVM_HCALL_BIND:
		return vm_bind(vm, &argument->bind);
	case KVM_HCALL_ADD:
		return vm_add(vm, &argument->add);
	case KVM_HCALL_REMOVE:
		return vm_remove(vm, &argument->remove);
	case KVM_HCALL_RESIZE:
		return vm_resize(vm, &argument->resize);
	case KVM_HCALL_POLICY:
		return vm_policy(vm, &argument->policy);
	case KVM_HCALL_STATS:
		return vm_stats(vm, &argument->stats);
	case KVM_HCALL_SEAL:
		return vm_seal(vm);
	case KVM_HCALL_ROUTE:
		return vm_route(vm, &argument->route);
	case KVM_HCALL_RAISE:
		return vm_raise(vm, &argument->raise);
	case KVM_HCALL_LINK:
		return vm_link(vm, &argument->link);
	default:
		return -ENOTTY;
	}
}

/*
 * The command was done, but its answer cannot be told: the memory for it was there
 * and has gone.  A device whose number nobody knows goes, too.
 */
static void vm_undo(struct hcall_vm *vm, unsigned int command,
		    const union vm_argument *argument)
{
	if (command == KVM_HCALL_ADD)
		vm_remove(vm, &(struct kvm_hcall_remove){
				      .class_id = argument->add.class_id,
				      .unit = argument->add.unit });
}

static long vm_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct hcall_vm *vm = file->private_data;
	void __user *user = (void __user *)arg;
	unsigned int size = _IOC_SIZE(command);
	union vm_argument argument = {};
	long ret;

	/* No command of ours only reads. */
	if (_IOC_TYPE(command) != KVM_HCALL_IOC || size > sizeof(argument) ||
	    _IOC_DIR(command) == _IOC_READ)
		return -ENOTTY;
	if ((_IOC_DIR(command) & _IOC_WRITE) &&
	    copy_from_user(&argument, user, size))
		return -EFAULT;

	/* A command that could not tell its answer would be half done. */
	if ((_IOC_DIR(command) & _IOC_READ) &&
	    copy_to_user(user, &argument, size))
		return -EFAULT;

	/* Who has it may wait for memory of another process, or for storage. */
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = vm_command(vm, command, &argument);
	if (!ret && (_IOC_DIR(command) & _IOC_READ) &&
	    copy_to_user(user, &argument, size)) {
		vm_undo(vm, command, &argument);
		ret = -EFAULT;
	}
	mutex_unlock(&vm->lock);
	return ret;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.open = vm_open,
	.release = vm_release,
	.unlocked_ioctl = vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice vm_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kvm-hcall",
	.fops = &vm_fops,
	.mode = 0660,
};

int __init hcall_vm_init(void)
{
	return misc_register(&vm_misc);
}

void hcall_vm_exit(void)
{
	misc_deregister(&vm_misc);
}
