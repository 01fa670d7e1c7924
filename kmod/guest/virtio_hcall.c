// SPDX-License-Identifier: GPL-2.0
/*
 * In a guest: hcall's devices for the kernel's own virtio drivers.
 *
 * This is a transport, as virtio_mmio is: a struct virtio_device for each device
 * of the host's list that has virtqueues, and calls of class virtio for what the
 * core and the drivers ask of it.
 *
 * News come by event channels, whose pending bits are in a page of ours: each
 * queue has a channel, and so has each device for its configuration.  All those
 * of a device have one interrupt.  The host signals a channel when its bit
 * becomes set, so whoever serves a channel clears the bit first and looks for
 * the news then.  ROUTE signals what is pending already: nothing is lost before.
 *
 * A kick is served while it is made.  If its answer is that the driver wants to
 * hear of used buffers, the driver does so right here, without an interrupt.
 *
 * One work item adds and removes devices, so that needs no lock.  A queue's lock
 * keeps its callback from running twice at once, as one irq of its own would, and
 * its virtqueue from going away below that.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/list.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/panic_notifier.h>
#include <linux/platform_device.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/workqueue.h>
#include <asm/alternative.h>
#include <asm/cpu_device_id.h>
#include <asm/hw_irq.h>
#include <asm/irqdomain.h>
#include <asm/kvm_para.h>
#include <asm/processor.h>

/* The kernel's text cannot be written, so KVM cannot mend it: choose as it does. */
#define HCALL_INSN ALTERNATIVE("vmcall", "vmmcall", X86_FEATURE_VMMCALL)
#include "hcall_call.h"

#define OWN_CHANNELS (HCALL_CHANNELS - HCALL_CHANNEL_GUEST)

/* What the transport cannot do without. */
#define FUNCTIONS \
	(BIT(HCALL_NR_FUNCTION(HCALL_VIRTIO_DEVICE)) | \
	 BIT(HCALL_NR_FUNCTION(HCALL_VIRTIO_STATUS)) | \
	 BIT(HCALL_NR_FUNCTION(HCALL_VIRTIO_FEATURES)) | \
	 BIT(HCALL_NR_FUNCTION(HCALL_VIRTIO_QUEUE)) | \
	 BIT(HCALL_NR_FUNCTION(HCALL_VIRTIO_KICK)) | \
	 BIT(HCALL_NR_FUNCTION(HCALL_VIRTIO_CONFIG_READ)) | \
	 BIT(HCALL_NR_FUNCTION(HCALL_VIRTIO_CONFIG_WRITE)))

/**
 * struct vh_queue - a virtqueue
 * @lock: held while the callback runs; protects @vq
 * @vq:   NULL: there is none now
 * @routed: its channel has an interrupt
 * @info: for the host
 */
struct vh_queue {
	spinlock_t lock;
	struct virtqueue *vq;
	bool routed;
	struct hcall_virtio_queue info;
};

/**
 * struct vh_device - a virtio device
 * @vdev:        for the core; its last reference frees all this
 * @node:        in vh_devices
 * @dev:         the dev argument of its calls
 * @name:        the launcher's name for it
 * @info:        what the host says of it
 * @lock:        protects where the interrupt goes to: @routed, and of @queues
 * @irq:         of all its channels
 * @routed:      its own channel has it
 * @channels:    the first of its queues' channels
 * @queues:      @info.queues of them
 * @config_lock: protects @config
 * @config:      @info.config_bytes, on their way from or to the host
 *
 * It is kmalloc()ed, so the host can write to its members.
 */
struct vh_device {
	struct virtio_device vdev;
	struct list_head node;
	u32 dev;
	char name[HCALL_NAME_BYTES];
	struct hcall_virtio_device info;
	raw_spinlock_t lock;
	int irq;
	bool routed;
	u32 channels;
	struct vh_queue *queues;
	struct mutex config_lock;
	void *config;
};

static struct device *vh_parent;
static struct irq_domain *vh_domain;
static struct hcall_event_page *vh_page;
static LIST_HEAD(vh_devices);
static DECLARE_BITMAP(vh_channels, OWN_CHANNELS);

static void vh_scan(struct work_struct *work);
static DECLARE_WORK(vh_work, vh_scan);

static struct vh_device *to_vh(struct virtio_device *vdev)
{
	return container_of(vdev, struct vh_device, vdev);
}

/* Make a call until it is not put off: the launcher's thread has a signal, ... */
#define again(call)					\
({							\
	s64 answer_;					\
							\
	do {						\
		answer_ = (call);			\
	} while (answer_ == -HCALL_EINTR ||		\
		 answer_ == -HCALL_EAGAIN);		\
	answer_;					\
})

/* The numbers of the ABI are Linux's, but for one. */
static int vh_error(s64 answer)
{
	if (answer >= 0)
		return 0;
	return answer == -HCALL_ENOSYS ? -EOPNOTSUPP : answer;
}

/* ---- News of the host ---------------------------------------------------- */

/* Context: interrupts are disabled. */
static void vh_callback(struct vh_queue *queue)
{
	spin_lock(&queue->lock);
	if (queue->vq)
		vring_interrupt(0, queue->vq);
	spin_unlock(&queue->lock);
}

/*
 * With interrupts enabled, nobody who called us holds a lock that a callback may
 * want, or else an interrupt would hang him, too.  With interrupts disabled the
 * host fires the channel, and the interrupt comes when it may; so it does when a
 * callback kicks, and callbacks do not nest.
 */
static bool vh_notify(struct virtqueue *vq)
{
	struct vh_queue *queue = vq->priv;
	u32 dev = to_vh(vq->vdev)->dev;
	bool here = !irqs_disabled() && !IS_ENABLED(CONFIG_PREEMPT_RT);
	s64 answer;

	do
		answer = hcall_virtio_kick(dev, vq->index,
					   here ? HCALL_KICK_TELL : 0);
	while (answer == -HCALL_EAGAIN || answer == -HCALL_EINTR);
	if (here && answer > 0) {
		/* What the callback leaves to a softirq runs at the end of this. */
		local_bh_disable();
		local_irq_disable();
		vh_callback(queue);
		local_irq_enable();
		local_bh_enable();
	}
	return answer >= 0;
}

static bool vh_pending(u32 channel)
{
	return READ_ONCE(vh_page->pending[channel / 32]) & BIT(channel % 32);
}

static irqreturn_t vh_interrupt(int irq, void *data)
{
	struct vh_device *vh = data;
	irqreturn_t ret = IRQ_NONE;
	u32 i;

	for (i = 0; i < vh->info.queues; i++) {
		if (hcall_event_take(vh_page, vh->channels + i)) {
			vh_callback(&vh->queues[i]);
			ret = IRQ_HANDLED;
		}
	}
	/* The work takes it: it is not signalled again before. */
	if (vh_pending(vh->info.channel)) {
		schedule_work(&vh_work);
		ret = IRQ_HANDLED;
	}
	return ret;
}

/* ---- Interrupts: a vector for each device, as for MSI -------------------- */

/* Where the kernel wants the device's interrupt now.  Context: vh->lock held. */
static int vh_route_locked(struct vh_device *vh, u32 channel)
{
	struct irq_data *data = irq_get_irq_data(vh->irq);
	const struct cpumask *where = irq_data_get_effective_affinity_mask(data);

	return vh_error(hcall_event_route(channel,
					  cpu_data(cpumask_first(where)).topo.initial_apicid,
					  irqd_cfg(data)->vector, 0));
}

static int vh_route(struct vh_device *vh, u32 channel, bool *routed)
{
	int err;

	guard(raw_spinlock_irqsave)(&vh->lock);
	err = vh_route_locked(vh, channel);
	*routed = !err;
	return err;
}

static void vh_unroute(struct vh_device *vh, u32 channel, bool *routed)
{
	guard(raw_spinlock_irqsave)(&vh->lock);
	hcall_event_route(channel, HCALL_VCPU_ANY, HCALL_ROUTE_NONE, 0);
	*routed = false;
}

/* A channel that is pending is signalled where its new route goes to. */
static int vh_set_affinity(struct irq_data *data, const struct cpumask *mask,
			   bool force)
{
	struct vh_device *vh = irq_data_get_irq_chip_data(data);
	int ret;
	u32 i;

	guard(raw_spinlock_irqsave)(&vh->lock);
	ret = irq_chip_set_affinity_parent(data, mask, force);
	if (ret < 0 || ret == IRQ_SET_MASK_OK_DONE)
		return ret;
	for (i = 0; i < vh->info.queues; i++) {
		if (vh->queues[i].routed)
			vh_route_locked(vh, vh->channels + i);
	}
	if (vh->routed)
		vh_route_locked(vh, vh->info.channel);
	return ret;
}

static struct irq_chip vh_chip = {
	.name = "hcall",
	.irq_ack = irq_chip_ack_parent,
	.irq_retrigger = irq_chip_retrigger_hierarchy,
	.irq_set_affinity = vh_set_affinity,
	.flags = IRQCHIP_SKIP_SET_WAKE,
};

static int vh_irq_alloc(struct irq_domain *domain, unsigned int irq,
			unsigned int n, void *data)
{
	struct irq_alloc_info *info = data;
	int err = irq_domain_alloc_irqs_parent(domain, irq, n, info);

	if (!err)
		irq_domain_set_info(domain, irq, irq, &vh_chip, info->data,
				    handle_edge_irq, NULL, "edge");
	return err;
}

static const struct irq_domain_ops vh_irq_ops = {
	.alloc = vh_irq_alloc,
	.free = irq_domain_free_irqs_common,
};

static int vh_request_irq(struct vh_device *vh)
{
	struct irq_alloc_info info = { .data = vh };
	int err;

	vh->irq = irq_domain_alloc_irqs(vh_domain, 1, NUMA_NO_NODE, &info);
	if (vh->irq < 0)
		return vh->irq;
	err = request_irq(vh->irq, vh_interrupt, 0, vh->name, vh);
	if (err)
		irq_dispose_mapping(vh->irq);
	return err;
}

static void vh_free_irq(struct vh_device *vh)
{
	free_irq(vh->irq, vh);
	irq_dispose_mapping(vh->irq);
}

/* ---- Queues -------------------------------------------------------------- */

static struct virtqueue *vh_add_queue(struct vh_device *vh, u32 index,
				      struct virtqueue_info *info)
{
	struct vh_queue *queue = &vh->queues[index];
	u32 channel = vh->channels + index;
	struct virtqueue *vq;
	int err;

	if (index >= vh->info.queues)
		return ERR_PTR(-ENOENT);
	vq = vring_create_virtqueue(index, vh->info.max_size, SMP_CACHE_BYTES,
				    &vh->vdev, true, true, info->ctx, vh_notify,
				    info->callback, info->name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->priv = queue;
	vq->num_max = vh->info.max_size;
	queue->info = (struct hcall_virtio_queue){
		.size = virtqueue_get_vring_size(vq),
		.channel = channel,
		.desc = virtqueue_get_desc_addr(vq),
		.driver = virtqueue_get_avail_addr(vq),
		.device = virtqueue_get_used_addr(vq),
	};
	scoped_guard(spinlock_irq, &queue->lock)
		queue->vq = vq;
	/* What an earlier driver has left there is no news. */
	hcall_event_take(vh_page, channel);
	err = vh_route(vh, channel, &queue->routed);
	if (!err)
		err = vh_error(again(hcall_virtio_queue(vh->dev, index,
							virt_to_phys(&queue->info),
							sizeof(queue->info))));
	return err ? ERR_PTR(err) : vq;
}

/* The host does not know the queues any more: they were reset. */
static void vh_del_vqs(struct virtio_device *vdev)
{
	struct vh_device *vh = to_vh(vdev);
	struct virtqueue *vq;
	u32 i;

	for (i = 0; i < vh->info.queues; i++) {
		struct vh_queue *queue = &vh->queues[i];

		scoped_guard(spinlock_irq, &queue->lock) {
			vq = queue->vq;
			queue->vq = NULL;
		}
		if (!vq)
			continue;
		vh_unroute(vh, vh->channels + i, &queue->routed);
		vring_del_virtqueue(vq);
	}
}

static int vh_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
		       struct virtqueue *vqs[],
		       struct virtqueue_info vqs_info[],
		       struct irq_affinity *desc)
{
	struct vh_device *vh = to_vh(vdev);
	u32 i, index = 0;
	int err;

	for (i = 0; i < nvqs; i++) {
		vqs[i] = NULL;
		if (!vqs_info[i].name)
			continue;
		vqs[i] = vh_add_queue(vh, index++, &vqs_info[i]);
		if (IS_ERR(vqs[i])) {
			err = PTR_ERR(vqs[i]);
			/* The host may know of the first ones. */
			vdev->config->reset(vdev);
			vh_del_vqs(vdev);
			return err;
		}
	}
	return 0;
}

/* ---- The other operations ------------------------------------------------ */

/* A device that has gone reads as zeros. */
static void vh_get(struct virtio_device *vdev, unsigned int offset, void *to,
		   unsigned int bytes)
{
	struct vh_device *vh = to_vh(vdev);

	guard(mutex)(&vh->config_lock);
	if (bytes > vh->info.config_bytes ||
	    again(hcall_virtio_config_read(vh->dev, offset,
					   virt_to_phys(vh->config), bytes)) < 0)
		memset(to, 0, bytes);
	else
		memcpy(to, vh->config, bytes);
}

static void vh_set(struct virtio_device *vdev, unsigned int offset,
		   const void *from, unsigned int bytes)
{
	struct vh_device *vh = to_vh(vdev);

	guard(mutex)(&vh->config_lock);
	if (bytes > vh->info.config_bytes)
		return;
	memcpy(vh->config, from, bytes);
	again(hcall_virtio_config_write(vh->dev, offset, virt_to_phys(vh->config),
					bytes));
}

static u8 vh_get_status(struct virtio_device *vdev)
{
	s64 status = again(hcall_virtio_status(to_vh(vdev)->dev,
					       HCALL_VIRTIO_STATUS_GET));

	return status < 0 ? 0 : status;
}

static void vh_set_status(struct virtio_device *vdev, u8 status)
{
	again(hcall_virtio_status(to_vh(vdev)->dev, status));
}

static void vh_reset(struct virtio_device *vdev)
{
	vh_set_status(vdev, 0);
	/* What had come before. */
	synchronize_irq(to_vh(vdev)->irq);
}

static u64 vh_get_features(struct virtio_device *vdev)
{
	return to_vh(vdev)->info.features;
}

static int vh_finalize_features(struct virtio_device *vdev)
{
	vring_transport_features(vdev);
	__virtio_clear_bit(vdev, VIRTIO_F_RING_PACKED);
	return vh_error(again(hcall_virtio_features(to_vh(vdev)->dev,
						    vdev->features)));
}

static const char *vh_bus_name(struct virtio_device *vdev)
{
	return to_vh(vdev)->name;
}

/* No generation: what is read in one call belongs together. */
static const struct virtio_config_ops vh_ops = {
	.get = vh_get,
	.set = vh_set,
	.get_status = vh_get_status,
	.set_status = vh_set_status,
	.reset = vh_reset,
	.find_vqs = vh_find_vqs,
	.del_vqs = vh_del_vqs,
	.get_features = vh_get_features,
	.finalize_features = vh_finalize_features,
	.bus_name = vh_bus_name,
};

/* ---- Devices: all of this in vh_work ------------------------------------- */

/* The last reference is the core's, or that of an open file. */
static void vh_release(struct device *device)
{
	struct vh_device *vh = to_vh(dev_to_virtio(device));

	kfree(vh->config);
	kfree(vh->queues);
	kfree(vh);
}

/* Return: NULL if the host has no such device, or it has no queues. */
static struct vh_device *vh_create(u32 dev, const char *name)
{
	struct vh_device *vh = kzalloc(sizeof(*vh), GFP_KERNEL);
	s64 answer;
	u32 i;

	if (!vh)
		return ERR_PTR(-ENOMEM);
	answer = hcall_virtio_device(dev, virt_to_phys(&vh->info),
				     sizeof(vh->info));
	if (answer < 0) {
		kfree(vh);
		return answer == -HCALL_ENODEV ? NULL : ERR_PTR(vh_error(answer));
	}
	vh->dev = dev;
	strscpy(vh->name, name);
	raw_spin_lock_init(&vh->lock);
	mutex_init(&vh->config_lock);
	vh->config = kzalloc(vh->info.config_bytes, GFP_KERNEL);
	vh->queues = kcalloc(vh->info.queues, sizeof(*vh->queues), GFP_KERNEL);
	if (!vh->config || !vh->queues) {
		vh_release(&vh->vdev.dev);
		return ERR_PTR(-ENOMEM);
	}
	for (i = 0; i < vh->info.queues; i++)
		spin_lock_init(&vh->queues[i].lock);
	vh->vdev.dev.parent = vh_parent;
	vh->vdev.dev.release = vh_release;
	vh->vdev.id.device = vh->info.device_id;
	vh->vdev.id.vendor = HCALL_CPUID_EBX;
	vh->vdev.config = &vh_ops;
	return vh;
}

static int vh_get_channels(struct vh_device *vh)
{
	unsigned long first =
		bitmap_find_next_zero_area(vh_channels, OWN_CHANNELS, 0,
					   vh->info.queues, 0);

	if (first >= OWN_CHANNELS)
		return -ENOSPC;
	bitmap_set(vh_channels, first, vh->info.queues);
	vh->channels = HCALL_CHANNEL_GUEST + first;
	return 0;
}

static void vh_put_channels(struct vh_device *vh)
{
	bitmap_clear(vh_channels, vh->channels - HCALL_CHANNEL_GUEST,
		     vh->info.queues);
}

static int vh_register(struct vh_device *vh)
{
	int err = vh_get_channels(vh);

	if (err)
		goto release;
	err = vh_request_irq(vh);
	if (err)
		goto put_channels;
	err = vh_route(vh, vh->info.channel, &vh->routed);
	if (err)
		goto free_irq;
	err = register_virtio_device(&vh->vdev);
	if (err)
		goto unroute;
	list_add_tail(&vh->node, &vh_devices);
	return 0;

unroute:
	vh_unroute(vh, vh->info.channel, &vh->routed);
	vh_free_irq(vh);
	vh_put_channels(vh);
	put_device(&vh->vdev.dev);
	return err;

free_irq:
	vh_free_irq(vh);
put_channels:
	vh_put_channels(vh);
release:
	vh_release(&vh->vdev.dev);
	return err;
}

static void vh_unregister(struct vh_device *vh)
{
	list_del(&vh->node);
	get_device(&vh->vdev.dev);
	unregister_virtio_device(&vh->vdev);
	vh_unroute(vh, vh->info.channel, &vh->routed);
	vh_free_irq(vh);
	vh_put_channels(vh);
	put_device(&vh->vdev.dev);
}

static void vh_add(u32 dev, const char *name)
{
	struct vh_device *vh;
	int err;

	list_for_each_entry(vh, &vh_devices, node) {
		if (vh->dev == dev)
			return;
	}
	vh = vh_create(dev, name);
	if (!vh)
		return;
	err = IS_ERR(vh) ? PTR_ERR(vh) : vh_register(vh);
	if (err)
		dev_err(vh_parent, "device %s: error %d\n", name, err);
}

static bool vh_is_gone(struct vh_device *vh)
{
	return again(hcall_virtio_status(vh->dev, HCALL_VIRTIO_STATUS_GET)) ==
	       -HCALL_ENODEV;
}

/* The configuration of a device has changed, or the list of devices. */
static void vh_scan(struct work_struct *work)
{
	struct hcall_device *found __free(kfree) =
		kzalloc(sizeof(*found), GFP_KERNEL);
	struct vh_device *vh, *next;
	u32 index;

	if (!found)
		return;
	list_for_each_entry_safe(vh, next, &vh_devices, node) {
		if (!hcall_event_take(vh_page, vh->info.channel))
			continue;
		if (vh_is_gone(vh)) {
			virtio_break_device(&vh->vdev);
			vh_unregister(vh);
		} else {
			virtio_config_changed(&vh->vdev);
		}
	}
	for (index = 0; hcall_device(index, virt_to_phys(found),
				     sizeof(*found)) >= 0; index++)
		vh_add(HCALL_VIRTIO_DEV(found->class_id, found->unit),
		       found->name);
	vh_add(HCALL_VIRTIO_RNG, "rng");
}

/* ---- Power --------------------------------------------------------------- */

static int vh_power_off(struct sys_off_data *data)
{
	hcall_exit(HCALL_EXIT_OFF, 0);
	return NOTIFY_DONE;
}

static int vh_restart(struct sys_off_data *data)
{
	hcall_exit(HCALL_EXIT_REBOOT, 0);
	return NOTIFY_DONE;
}

/*
 * With panic=0, the default, the machine stays as it is, as a computer does.  A
 * delay is for somebody to read the screen, which the launcher leaves as it is.
 */
static int vh_panic(struct notifier_block *block, unsigned long event,
		    void *data)
{
	if (panic_timeout)
		hcall_exit(HCALL_EXIT_PANIC, 1);
	return NOTIFY_DONE;
}

/* The last one: the others may have something to write. */
static struct notifier_block vh_panic_block = {
	.notifier_call = vh_panic,
	.priority = INT_MIN,
};

static void vh_remove_panic(void *unused)
{
	atomic_notifier_chain_unregister(&panic_notifier_list, &vh_panic_block);
}

/*
 * Before the firmware.  x86 does not ask the handlers of SYS_OFF_MODE_RESTART;
 * those of ..._PREPARE are not called for kexec.
 */
static int __init vh_init_power(struct device *device)
{
	int err;

	err = devm_register_sys_off_handler(device, SYS_OFF_MODE_POWER_OFF,
					    SYS_OFF_PRIO_FIRMWARE + 1,
					    vh_power_off, NULL);
	if (err)
		return err;
	err = devm_register_sys_off_handler(device, SYS_OFF_MODE_RESTART_PREPARE,
					    SYS_OFF_PRIO_FIRMWARE + 1,
					    vh_restart, NULL);
	if (err)
		return err;
	atomic_notifier_chain_register(&panic_notifier_list, &vh_panic_block);
	return devm_add_action_or_reset(device, vh_remove_panic, NULL);
}

/* ---- The module ---------------------------------------------------------- */

static void vh_remove_page(void *unused)
{
	hcall_event_page(HCALL_NO_PAGE);
	kfree(vh_page);
}

/* kmalloc() aligns what has the size of a power of two to that. */
static int __init vh_init_page(struct device *device)
{
	int err;

	vh_page = kzalloc(sizeof(*vh_page), GFP_KERNEL);
	if (!vh_page)
		return -ENOMEM;
	err = vh_error(hcall_event_page(virt_to_phys(vh_page)));
	if (err) {
		kfree(vh_page);
		return err;
	}
	return devm_add_action_or_reset(device, vh_remove_page, NULL);
}

static void vh_remove_domain(void *unused)
{
	struct fwnode_handle *fwnode = vh_domain->fwnode;

	irq_domain_remove(vh_domain);
	irq_domain_free_fwnode(fwnode);
}

static int __init vh_init_domain(struct device *device)
{
	struct fwnode_handle *fwnode = irq_domain_alloc_named_fwnode("hcall");

	if (!fwnode)
		return -ENOMEM;
	vh_domain = irq_domain_create_hierarchy(x86_vector_domain, 0, 0, fwnode,
						&vh_irq_ops, NULL);
	if (!vh_domain) {
		irq_domain_free_fwnode(fwnode);
		return -ENOMEM;
	}
	return devm_add_action_or_reset(device, vh_remove_domain, NULL);
}

static int __init vh_probe(struct platform_device *pdev)
{
	int err;

	vh_parent = &pdev->dev;
	err = vh_init_page(vh_parent);
	if (!err)
		err = vh_init_domain(vh_parent);
	if (!err)
		err = vh_init_power(vh_parent);
	if (err)
		return err;
	schedule_work(&vh_work);
	flush_work(&vh_work);
	return 0;
}

static void vh_remove(struct platform_device *pdev)
{
	struct vh_device *vh, *next;

	disable_work_sync(&vh_work);
	list_for_each_entry_safe(vh, next, &vh_devices, node)
		vh_unregister(vh);
}

/* After the devices'.  A kernel that kexec starts next has other uses for memory. */
static void vh_shutdown(struct platform_device *pdev)
{
	struct vh_device *vh;

	disable_work_sync(&vh_work);
	list_for_each_entry(vh, &vh_devices, node)
		vh_set_status(&vh->vdev, 0);
	hcall_event_page(HCALL_NO_PAGE);
}

static struct platform_driver vh_driver = {
	.driver.name = KBUILD_MODNAME,
	.remove = vh_remove,
	.shutdown = vh_shutdown,
};

/* A KVM without hcall says so; other hypervisors may not take the instruction. */
static bool __init vh_there(void)
{
	s64 functions;

	if (!(hcall_features() & HCALL_FEATURE_CALLS) && !kvm_para_available())
		return false;
	functions = hcall_probe(HCALL_CLASS_VIRTIO);
	return functions > 0 && (functions & FUNCTIONS) == FUNCTIONS;
}

static int __init vh_init(void)
{
	struct platform_device *pdev;

	if (!vh_there()) {
		pr_info("the host has no hcall with virtio\n");
		return -ENODEV;
	}
	pdev = platform_create_bundle(&vh_driver, vh_probe, NULL, 0, NULL, 0);
	return PTR_ERR_OR_ZERO(pdev);
}

static void __exit vh_exit(void)
{
	struct platform_device *pdev = to_platform_device(vh_parent);

	platform_device_unregister(pdev);
	platform_driver_unregister(&vh_driver);
}

module_init(vh_init);
module_exit(vh_exit);

/* Loaded in every VM: which it is the module sees by itself. */
static const struct x86_cpu_id vh_cpus[] __maybe_unused = {
	X86_MATCH_FEATURE(X86_FEATURE_HYPERVISOR, NULL),
	{}
};
MODULE_DEVICE_TABLE(x86cpu, vh_cpus);
MODULE_DESCRIPTION("virtio devices by hcall calls");
MODULE_LICENSE("GPL");
