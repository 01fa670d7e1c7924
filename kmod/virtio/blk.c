// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-blk (Virtual I/O Device 1.2, 5.2): requests become calls of class block,
 * whose functions have the numbers of the request types.
 */
#include <linux/sched/signal.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "../dispatch.h"
#include "virtio.h"

static_assert(HCALL_NR_FUNCTION(HCALL_BLOCK_READ) == VIRTIO_BLK_T_IN);
static_assert(HCALL_NR_FUNCTION(HCALL_BLOCK_WRITE) == VIRTIO_BLK_T_OUT);
static_assert(HCALL_NR_FUNCTION(HCALL_BLOCK_FLUSH) == VIRTIO_BLK_T_FLUSH);
static_assert(HCALL_NR_FUNCTION(HCALL_BLOCK_DISCARD) == VIRTIO_BLK_T_DISCARD);
static_assert(HCALL_NR_FUNCTION(HCALL_BLOCK_WRITE_ZEROES) ==
	      VIRTIO_BLK_T_WRITE_ZEROES);
static_assert(HCALL_ZEROES_UNMAP == VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);

/* Without the header and the status. */
#define BLK_SEGMENTS (HCALL_VIRTIO_MAX_SEGMENTS - 2)

/* Ranges of one DISCARD or WRITE_ZEROES. */
#define BLK_RANGES 16

#define BLK_QUEUES 16

/* A call of class block.  Return: its answer, which programs may have made up. */
static s64 blk_call(struct hcall_queue *queue, struct hcall_call *call, u32 type,
		    u64 a, u64 b, u64 c)
{
	call->nr = HCALL_NR(HCALL_CLASS_BLOCK, type);
	call->after = HCALL_AFTER_RETURN;
	call->bytes = 0;
	call->args[0] = queue->front->unit;
	call->args[1] = a;
	call->args[2] = b;
	call->args[3] = c;
	return hcall_dispatch(call);
}

/*
 * Between the calls of one request: is it worth while?  Not if the queue or the
 * workers are being stopped, or the process is dying: all wait for us.
 */
static bool blk_goes_on(struct hcall_queue *queue)
{
	return READ_ONCE(queue->ready) &&
	       !READ_ONCE(queue->front->vm->workers.stopped) &&
	       !fatal_signal_pending(current);
}

/*
 * Sectors to or from the guest's memory, as many a call as it takes at most.
 * @sector: the request's first; @done: how many have been moved
 */
static s64 blk_transfer(struct hcall_queue *queue, struct hcall_chain *chain,
			struct hcall_call *call, u32 type, u64 sector, u64 done)
{
	bool out = type == VIRTIO_BLK_T_OUT;
	u64 offset = out ? sizeof(struct virtio_blk_outhdr) : 0;
	u64 end = out ? chain->out : chain->in - 1;
	u64 gpa, sectors;
	bool leaves;
	s64 ret;

	if (end == offset || (end - offset) % HCALL_SECTOR_BYTES)
		return -HCALL_EINVAL;
	/* If there are more calls, somebody has to go on after the first. */
	if (end - offset > HCALL_BLOCK_MAX_SECTORS * HCALL_SECTOR_BYTES)
		call->later = false;
	if (call->later)
		container_of(call, struct hcall_later, call)->key = sector;
	/* So long a one is for a worker: the vCPU that had to begin it can leave. */
	leaves = call->vcpu && end - offset > HCALL_KICK_BYTES;
	sector += done;
	offset += done * HCALL_SECTOR_BYTES;
	while (offset < end) {
		sectors = min((end - offset) / HCALL_SECTOR_BYTES,
			      HCALL_BLOCK_MAX_SECTORS);
		hcall_chain_memory(chain, out ? ITER_SOURCE : ITER_DEST, offset,
				   sectors * HCALL_SECTOR_BYTES, call, &gpa);
		ret = blk_call(queue, call, type, sector, gpa, sectors);
		if (ret < 0)
			return ret;
		if (!ret || ret > sectors)
			return -HCALL_EIO;
		call->later = false;
		sector += ret;
		offset += ret * HCALL_SECTOR_BYTES;
		if (offset < end && !blk_goes_on(queue))
			return -HCALL_EIO;
		if (offset < end && leaves && signal_pending(current))
			return -HCALL_EINTR;
		cond_resched();
	}
	call->segments = NULL;
	return 0;
}

/*
 * DISCARD and WRITE_ZEROES have ranges for data.  The call DISCARD takes no flags,
 * and ignores its fourth argument.
 */
static s64 blk_ranges(struct hcall_queue *queue, struct hcall_chain *chain,
		      struct hcall_call *call, u32 type)
{
	struct virtio_blk_discard_write_zeroes range[BLK_RANGES];
	u64 bytes = chain->out - sizeof(struct virtio_blk_outhdr);
	bool zeroes = type == VIRTIO_BLK_T_WRITE_ZEROES;
	u32 cap = zeroes ? HCALL_BLOCK_MAX_ZEROES_SECTORS :
			   HCALL_BLOCK_MAX_DISCARD_SECTORS;
	u64 gpa, sector, left;
	u32 i, flags;
	s64 ret;

	if (!bytes || bytes % sizeof(range[0]) || bytes > sizeof(range))
		return -HCALL_EINVAL;
	hcall_chain_memory(chain, ITER_SOURCE, sizeof(struct virtio_blk_outhdr),
			   bytes, call, &gpa);
	if (hcall_call_read(call, gpa, 0, range, bytes))
		return -HCALL_EFAULT;
	call->segments = NULL;
	for (i = 0; i < bytes / sizeof(range[0]); i++) {
		sector = le64_to_cpu(range[i].sector);
		left = le32_to_cpu(range[i].num_sectors);
		flags = le32_to_cpu(range[i].flags);
		if (flags & ~(zeroes ? HCALL_ZEROES_UNMAP : 0))
			return -HCALL_EOPNOTSUPP;
		if (left > cap)
			return -HCALL_EINVAL;
		while (left) {
			ret = blk_call(queue, call, type, sector, left, flags);
			if (ret < 0)
				return ret;
			if (!ret || ret > left)
				return -HCALL_EIO;
			sector += ret;
			left -= ret;
			if (left && !blk_goes_on(queue))
				return -HCALL_EIO;
			cond_resched();
		}
		if (!blk_goes_on(queue))
			return -HCALL_EIO;
	}
	return 0;
}

static s64 blk_flush(struct hcall_queue *queue, struct hcall_call *call)
{
	return blk_call(queue, call, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
}

/* The name that DEVICE tells, for a driver without DEVICE. */
static s64 blk_id(struct hcall_queue *queue, struct hcall_chain *chain,
		  struct hcall_call *call)
{
	char id[VIRTIO_BLK_ID_BYTES];
	u64 gpa;
	s64 ret;

	if (chain->in < sizeof(id) + 1)
		return -HCALL_EINVAL;
	memcpy(id, queue->front->name, sizeof(id));
	hcall_chain_memory(chain, ITER_DEST, 0, sizeof(id), call, &gpa);
	ret = hcall_call_write(call, gpa, 0, id, sizeof(id));
	call->segments = NULL;
	return ret ? -HCALL_EFAULT : 0;
}

/*
 * Does a write have to be on the disk when it is answered?  Also if the driver has
 * no means to ask for that (5.2.6.2).
 */
static bool blk_through(const struct hcall_front *front)
{
	return !READ_ONCE(front->writeback) ||
	       !(hcall_front_has(front, VIRTIO_BLK_F_FLUSH) ||
		 hcall_front_has(front, VIRTIO_BLK_F_CONFIG_WCE));
}

static s64 blk_answer(struct hcall_queue *queue, struct hcall_chain *chain,
		      struct hcall_call *call,
		      const struct virtio_blk_outhdr *header)
{
	u32 type = from_virtio32(header->type);
	s64 ret;

	/* What takes that long does not keep a vCPU. */
	if (call->nowait && chain->in + chain->out > HCALL_KICK_BYTES)
		return HCALL_DEFER;
	switch (type) {
	case VIRTIO_BLK_T_IN:
		/* What is in memory already need not wait. */
		if (call->nowait && queue->front->waits)
			return HCALL_DEFER;
		return blk_transfer(queue, chain, call, type,
				    from_virtio64(header->sector), 0);
	case VIRTIO_BLK_T_OUT:
		/* Nor does what goes there, mostly; no more than by a call. */
		if (call->nowait && (queue->front->waits ||
				     blk_through(queue->front)))
			return HCALL_DEFER;
		call->nowait = false;
		ret = blk_transfer(queue, chain, call, type,
				   from_virtio64(header->sector), 0);
		if (!ret && blk_through(queue->front))
			ret = blk_flush(queue, call);
		return ret;
	case VIRTIO_BLK_T_FLUSH:
		return blk_flush(queue, call);
	case VIRTIO_BLK_T_DISCARD:
		return blk_ranges(queue, chain, call, type);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		/* A write, too; what was discarded may be anything. */
		if (call->nowait && blk_through(queue->front))
			return HCALL_DEFER;
		ret = blk_ranges(queue, chain, call, type);
		if (!ret && blk_through(queue->front))
			ret = blk_flush(queue, call);
		return ret;
	case VIRTIO_BLK_T_GET_ID:
		return blk_id(queue, chain, call);
	default:
		return -HCALL_EOPNOTSUPP;
	}
}

/* Tell the guest how it went.  Return: as @request of struct hcall_virtio. */
static s64 blk_status(struct hcall_chain *chain, struct hcall_call *call, s64 ret)
{
	u8 status = ret >= 0		      ? VIRTIO_BLK_S_OK :
		    ret == -HCALL_EOPNOTSUPP ||
		    ret == -HCALL_ENOSYS ? VIRTIO_BLK_S_UNSUPP :
					       VIRTIO_BLK_S_IOERR;
	u64 gpa;

	hcall_chain_memory(chain, ITER_DEST, chain->in - 1, 1, call, &gpa);
	if (hcall_write(call->vm, gpa, &status, sizeof(status)))
		return -HCALL_EFAULT;
	return chain->in;
}

static s64 blk_request(struct hcall_queue *queue, struct hcall_chain *chain,
		       struct hcall_call *call)
{
	struct virtio_blk_outhdr header;
	bool nowait = call->nowait;
	u64 gpa;
	s64 ret;

	if (chain->out < sizeof(header) || !chain->in)
		return -HCALL_EFAULT;
	hcall_chain_memory(chain, ITER_SOURCE, 0, sizeof(header), call, &gpa);
	ret = hcall_call_read(call, gpa, 0, &header, sizeof(header));
	call->segments = NULL;
	if (ret)
		return -HCALL_EFAULT;

	ret = blk_answer(queue, chain, call, &header);
	call->nowait = nowait;
	if (ret == HCALL_DEFER || ret == -HCALL_EFAULT)
		return ret;
	call->segments = NULL;
	/* A vCPU that is wanted elsewhere comes back; a worker dies. */
	if (ret == -HCALL_EINTR && call->vcpu)
		return ret;
	return blk_status(chain, call, ret);
}

/* The first call of a request is over: if it has moved less than all, go on here. */
static s64 blk_finish(struct hcall_queue *queue, struct hcall_chain *chain,
		      struct hcall_later *later)
{
	struct hcall_call *call = &later->call;
	bool out = call->nr == HCALL_BLOCK_WRITE;
	u64 bytes = out ? chain->out - sizeof(struct virtio_blk_outhdr) :
			  chain->in - 1;
	u64 sectors = bytes / HCALL_SECTOR_BYTES;
	s64 ret = hcall_finish(later);

	call->later = false;
	call->segments = NULL;
	if (ret > 0 && ret < sectors && blk_goes_on(queue))
		ret = blk_transfer(queue, chain, call,
				   HCALL_NR_FUNCTION(call->nr), later->key, ret);
	else if (ret >= 0 && ret != sectors)
		ret = -HCALL_EIO;
	if (ret >= 0 && out && blk_through(queue->front))
		ret = blk_flush(queue, call);
	return ret == -HCALL_EFAULT ? ret : blk_status(chain, call, ret);
}

static u32 blk_queues(const struct hcall_vm *vm, struct hcall_dev *dev)
{
	return min(hcall_vcpus(vm), BLK_QUEUES);
}

static u64 blk_features(struct hcall_dev *dev)
{
	struct hcall_device info = {};
	u64 features = BIT_ULL(VIRTIO_BLK_F_SEG_MAX) |
		       BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) |
		       BIT_ULL(VIRTIO_BLK_F_TOPOLOGY) |
		       BIT_ULL(VIRTIO_BLK_F_MQ);

	hcall_dev_describe(dev, &info);
	if (info.flags & HCALL_DEVICE_READONLY)
		return features | BIT_ULL(VIRTIO_BLK_F_RO);
	features |= BIT_ULL(VIRTIO_BLK_F_FLUSH) |
		    BIT_ULL(VIRTIO_BLK_F_CONFIG_WCE) |
		    BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES);
	if (info.u.block.max_discard_sectors)
		features |= BIT_ULL(VIRTIO_BLK_F_DISCARD);
	return features;
}

static void blk_config(struct hcall_front *front, struct hcall_dev *dev, void *to)
{
	struct virtio_blk_config *config = to;
	struct hcall_device info = {};
	u32 blocks;

	hcall_dev_describe(dev, &info);
	blocks = info.u.block.block_bytes / HCALL_SECTOR_BYTES;
	config->capacity = to_virtio64(info.u.block.sectors);
	config->seg_max = to_virtio32(BLK_SEGMENTS);
	config->blk_size = to_virtio32(info.u.block.block_bytes);
	config->physical_block_exp =
		ilog2(max(info.u.block.physical_bytes /
				  info.u.block.block_bytes, 1u));
	config->min_io_size = to_virtio16(1 << config->physical_block_exp);
	config->wce = !blk_through(front);
	config->num_queues = to_virtio16(front->queues);
	config->max_discard_sectors =
		to_virtio32(info.u.block.max_discard_sectors);
	config->max_discard_seg = to_virtio32(BLK_RANGES);
	config->discard_sector_alignment = to_virtio32(blocks);
	config->max_write_zeroes_sectors =
		to_virtio32(info.u.block.max_zeroes_sectors);
	config->max_write_zeroes_seg = to_virtio32(BLK_RANGES);
	config->write_zeroes_may_unmap = !!info.u.block.max_discard_sectors;
}

static bool blk_configure(struct hcall_front *front, u32 offset, u32 bytes,
			  const u8 *from)
{
	if (offset != offsetof(struct virtio_blk_config, wce) || bytes != 1 ||
	    !hcall_front_has(front, VIRTIO_BLK_F_CONFIG_WCE))
		return false;
	WRITE_ONCE(front->writeback, *from);
	return true;
}

const struct hcall_virtio hcall_virtio_blk = {
	.device_id = VIRTIO_ID_BLOCK,
	.config_bytes = offsetofend(struct virtio_blk_config, unused1),
	.unordered = true,
	.queues = blk_queues,
	.features = blk_features,
	.config = blk_config,
	.configure = blk_configure,
	.request = blk_request,
	.finish = blk_finish,
};
