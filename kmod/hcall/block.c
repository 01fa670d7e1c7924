// SPDX-License-Identifier: GPL-2.0
/*
 * Class 2, block: sectors of a regular file or a block device.
 *
 * A call becomes one vfs operation of the calling thread (a direct one by a
 * virtqueue goes on without it, see struct hcall_later) on the guest's own pages,
 * with no lock and no allocation of ours: what two calls do to the same sectors at
 * a time is for the file system to order, as it is for two pwrite(2).  The mode is
 * fixed when the disk is added, the size until the launcher has us look again, which
 * calls under way may not see yet: each reads it once.  A write does not make the
 * file longer (but for one that is cut at that very moment).
 */
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/stat.h>

#include "internal.h"
#include "memory.h"
#include "virtio/virtio.h"

#define HCALL_SECTOR_SHIFT 9

/* Big enough to hide the cost of a call, small enough to be had any time. */
#define BOUNCE_BYTES SZ_64K

/* Zeros written by one call, where the file system cannot make a hole. */
#define ZEROES_BYTES SZ_1M

/**
 * struct block_disk - a disk
 * @dev:         what all devices have
 * @file:        the launcher's; a reference of ours
 * @sectors:     size; resize changes it at any time
 * @block_bytes: sectors and counts must be multiples of this many bytes
 * @physical_bytes: a hint for the guest
 * @sector_mask: the same, as bits of a sector or count that must be 0
 * @memory_mask: address bits that direct I/O wants to be 0
 * @iocb_flags:  how the file was opened; later changes by fcntl(2) are ignored
 * @regular:     a regular file, not a block device
 * @punches:     it can give space back
 */
struct block_disk {
	struct hcall_dev dev;
	struct file *file;
	u64 sectors;
	u32 block_bytes;
	u32 physical_bytes;
	u32 sector_mask;
	u32 memory_mask;
	int iocb_flags;
	bool regular;
	bool punches;
};

/* What a call does to the sectors that it names. */
enum block_access {
	BLOCK_READS,
	BLOCK_WRITES,
	BLOCK_PUNCHES, /* needs a file that can have holes */
};

struct block_range {
	struct block_disk *disk;
	loff_t pos;
	u64 len;
};

static __always_inline s64
block_range(struct hcall_call *call, u64 unit, u64 sector, u64 sectors, u64 cap,
	    enum block_access access, struct block_range *range)
{
	struct hcall_dev *dev;
	struct block_disk *disk;
	u64 size;

	if (!sectors)
		return -HCALL_EINVAL;
	dev = hcall_dev(call, HCALL_INDEX_BLOCK, unit);
	if (!dev)
		return -HCALL_ENODEV;
	if (sectors > cap)
		return -HCALL_E2BIG;
	disk = container_of(dev, struct block_disk, dev);
	if ((sector | sectors) & disk->sector_mask)
		return -HCALL_EINVAL;
	if (access != BLOCK_READS && dev->flags & HCALL_DEVICE_READONLY)
		return -HCALL_EROFS;
	if (access == BLOCK_PUNCHES && !disk->punches)
		return -HCALL_EOPNOTSUPP;
	size = READ_ONCE(disk->sectors);
	if (sector >= size || sectors > size - sector)
		return -HCALL_ERANGE;
	range->disk = disk;
	range->pos = sector * HCALL_SECTOR_BYTES;
	range->len = sectors * HCALL_SECTOR_BYTES;
	return 0;
}

/* Would this write to a regular file do more to the launcher than write? */
static int block_may_write(const struct block_disk *disk, loff_t pos, u64 len)
{
	const struct inode *inode = file_inode(disk->file);

	/* Somebody cut the file: a write would make it longer again. */
	if (unlikely(pos + len > i_size_read(inode)))
		return -EIO;
	/* Past the limit it would be SIGXFSZ. */
	if (unlikely(pos + len > rlimit(RLIMIT_FSIZE)))
		return -EFBIG;
	return 0;
}

/*
 * One file operation, straight, as other block back ends in the kernel do it
 * (loop, nvmet, target_core_file): the launcher was allowed to open the file.
 * @dir is @iter's.  Return: bytes moved, or a negative errno.
 */
static __always_inline ssize_t block_rw(const struct block_disk *disk,
					loff_t pos, struct iov_iter *iter,
					unsigned int dir, bool nowait)
{
	struct file *file = disk->file;
	/* No ki_ioprio: then the block layer takes the thread's own. */
	struct kiocb iocb = {
		.ki_filp = file,
		.ki_pos = pos,
		.ki_flags = disk->iocb_flags | (nowait ? IOCB_NOWAIT : 0),
	};
	struct super_block *sb;
	ssize_t ret;

	if (dir == ITER_DEST)
		return file->f_op->read_iter(&iocb, iter);
	if (!disk->regular)
		return file->f_op->write_iter(&iocb, iter);
	ret = block_may_write(disk, pos, iov_iter_count(iter));
	if (ret)
		return ret;
	/* A frozen file system makes us wait. */
	sb = file_inode(file)->i_sb;
	if (!nowait)
		sb_start_write(sb);
	else if (!sb_start_write_trylock(sb))
		return -EAGAIN;
	ret = file->f_op->write_iter(&iocb, iter);
	sb_end_write(sb);
	return ret;
}

/* The guest's result for @done bytes or an error: whole blocks, or nothing. */
static s64 block_count(const struct block_disk *disk, ssize_t done)
{
	if (done < 0)
		return hcall_error(done);
	done = round_down(done, disk->block_bytes);
	return done >> HCALL_SECTOR_SHIFT ?: -HCALL_EIO;
}

/* ---- Answers that come later ------------------------------------------------- */

/* The file is done.  Context: any */
static void block_done(struct kiocb *iocb, long moved)
{
	struct hcall_later *later = container_of(iocb, struct hcall_later, iocb);

	if (iocb->ki_flags & IOCB_WRITE)
		kiocb_end_write(iocb);
	later->moved = moved;
	later->done(later);
}

static s64 block_answer(struct hcall_later *later)
{
	struct hcall_call *call = &later->call;

	if (later->moved > 0) {
		call->bytes = later->moved;
		if (call->nr == HCALL_BLOCK_READ)
			hcall_call_dirty(call, call->args[2], later->moved);
	}
	return block_count(container_of(later->dev, struct block_disk, dev),
			   later->moved);
}

/*
 * Nobody waits for what the file does outside of calls, but who takes away the
 * device that the request came to: a program may have changed it to another.
 */
static bool block_stays(struct hcall_call *call, const struct block_disk *disk)
{
	return READ_ONCE(disk->dev.front) ==
	       container_of(call, struct hcall_later, call)->front;
}

/*
 * As block_rw(), but the guest's pages are pinned and the file calls block_done()
 * when it has moved all.  Return: -EIOCBQUEUED: it will; else it will not.
 */
static noinline ssize_t block_start(struct hcall_later *later,
				    struct block_disk *disk, loff_t pos,
				    struct iov_iter *iter, unsigned int dir)
{
	struct kiocb *iocb = &later->iocb;
	struct file *file = disk->file;
	ssize_t ret;

	*iocb = (struct kiocb){
		.ki_filp = file,
		.ki_pos = pos,
		.ki_flags = disk->iocb_flags,
		.ki_complete = block_done,
	};
	later->dev = &disk->dev;
	later->answer = block_answer;
	if (dir == ITER_DEST)
		return file->f_op->read_iter(iocb, iter);
	if (!disk->regular)
		return file->f_op->write_iter(iocb, iter);
	ret = block_may_write(disk, pos, iov_iter_count(iter));
	if (ret)
		return ret;
	iocb->ki_flags |= IOCB_WRITE;
	kiocb_start_write(iocb);
	ret = file->f_op->write_iter(iocb, iter);
	if (ret != -EIOCBQUEUED)
		kiocb_end_write(iocb);
	return ret;
}

/* ---- Reading and writing ------------------------------------------------------- */

/*
 * The uncommon case: a buffer that direct I/O cannot use, or one that crosses
 * more memslots than an iov_iter of ours holds.  @range comes by value, so that
 * the common case need not have it in memory.
 */
static noinline ssize_t block_bounce(struct hcall_call *call,
				     struct block_range range, u64 gpa,
				     unsigned int dir)
{
	size_t size = min_t(u64, range.len, BOUNCE_BYTES);
	struct iov_iter iter;
	struct kvec kvec;
	ssize_t done = 0;
	ssize_t ret = 0;
	void *bounce;

	bounce = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!bounce)
		return -ENOMEM;
	while (done < range.len) {
		kvec.iov_base = bounce;
		kvec.iov_len = min_t(u64, range.len - done, size);
		if (dir == ITER_SOURCE) {
			ret = hcall_call_read(call, gpa, done, bounce,
					      kvec.iov_len);
			if (ret)
				break;
		}
		iov_iter_kvec(&iter, dir, &kvec, 1, kvec.iov_len);
		ret = block_rw(range.disk, range.pos + done, &iter, dir, false);
		if (ret <= 0)
			break;
		if (dir == ITER_DEST &&
		    hcall_call_write(call, gpa, done, bounce, ret)) {
			ret = -EFAULT;
			break;
		}
		done += ret;
		if (ret < kvec.iov_len || fatal_signal_pending(current))
			break;
		cond_resched();
	}
	kvfree(bounce);
	return done ?: ret;
}

/* Can direct I/O not use this memory?  Each of its pieces has whole blocks. */
static bool block_misaligned(const struct hcall_call *call,
			     const struct block_disk *disk,
			     const struct iov_iter *iter)
{
	u32 mask = disk->memory_mask;

	if (call->segments)
		mask |= disk->block_bytes - 1;
	return iov_iter_alignment(iter) & mask;
}

static __always_inline s64 block_transfer(struct hcall_call *call, unsigned int dir)
{
	struct hcall_buffer buffer __uninitialized; /* hcall_buffer() */
	struct block_range range __uninitialized; /* block_range() */
	u64 gpa = call->args[2];
	ssize_t done;
	int partial;
	s64 ret;

	ret = block_range(call, call->args[0], call->args[1], call->args[3],
			  HCALL_BLOCK_MAX_SECTORS,
			  dir == ITER_SOURCE ? BLOCK_WRITES : BLOCK_READS,
			  &range);
	if (ret)
		return ret;
	partial = hcall_call_buffer(call, gpa, range.len, dir, &buffer);
	if (unlikely(partial < 0))
		return -HCALL_EFAULT;

	if (unlikely(partial || (range.disk->memory_mask &&
				 block_misaligned(call, range.disk,
						  &buffer.iter)))) {
		if (call->nowait)
			return HCALL_DEFER;
		done = block_bounce(call, range, gpa, dir);
	} else if (unlikely(call->nowait)) {
		if (!(range.disk->file->f_mode & FMODE_NOWAIT))
			return HCALL_DEFER;
		done = block_rw(range.disk, range.pos, &buffer.iter, dir, true);
		/* A worker does it again, whole. */
		if (done != range.len)
			return HCALL_DEFER;
	} else if (unlikely(call->later) && range.disk->dev.waits &&
		   block_stays(call, range.disk)) {
		done = block_start(container_of(call, struct hcall_later, call),
				   range.disk, range.pos, &buffer.iter, dir);
		if (done == -EIOCBQUEUED)
			return HCALL_DEFER;
	} else {
		done = block_rw(range.disk, range.pos, &buffer.iter, dir, false);
	}
	if (likely(done > 0)) {
		call->bytes = done;
		if (dir == ITER_DEST && unlikely(buffer.logged))
			hcall_call_dirty(call, gpa, done);
		if (likely(done == range.len))
			return call->args[3];
	}
	return block_count(range.disk, done);
}

static s64 block_read(struct hcall_call *call)
{
	return block_transfer(call, ITER_DEST);
}

static s64 block_write(struct hcall_call *call)
{
	return block_transfer(call, ITER_SOURCE);
}

static s64 block_flush(struct hcall_call *call)
{
	struct hcall_dev *dev = hcall_dev(call, HCALL_INDEX_BLOCK,
					  call->args[0]);
	struct block_disk *disk;
	int ret;

	if (!dev)
		return -HCALL_ENODEV;
	if (call->nowait)
		return HCALL_DEFER;
	if (dev->flags & HCALL_DEVICE_READONLY) /* nothing was written */
		return 0;
	disk = container_of(dev, struct block_disk, dev);
	ret = vfs_fsync_range(disk->file, 0, LLONG_MAX, 1);
	return ret ? hcall_error(ret) : 0;
}

static int block_fallocate(const struct block_range *range, int mode)
{
	int ret = 0;

	if (range->disk->regular)
		ret = block_may_write(range->disk, range->pos, range->len);
	return ret ?: vfs_fallocate(range->disk->file,
				    mode | FALLOC_FL_KEEP_SIZE, range->pos,
				    range->len);
}

static s64 block_discard(struct hcall_call *call)
{
	struct block_range range;
	s64 ret;

	ret = block_range(call, call->args[0], call->args[1], call->args[2],
			  HCALL_BLOCK_MAX_DISCARD_SECTORS, BLOCK_PUNCHES, &range);
	if (ret)
		return ret;
	if (call->nowait)
		return HCALL_DEFER;
	ret = block_fallocate(&range, FALLOC_FL_PUNCH_HOLE);
	return ret ? hcall_error(ret) : call->args[2];
}

/* Zeros the hard way, and not too many at a time. */
static s64 block_write_zero_pages(const struct block_range *range)
{
	u64 len = min_t(u64, range->len, ZEROES_BYTES);
	struct bio_vec zeros[16];
	struct iov_iter iter;
	ssize_t done = 0;
	ssize_t ret = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(zeros); i++)
		bvec_set_page(&zeros[i], ZERO_PAGE(0), PAGE_SIZE, 0);
	while (done < len) {
		iov_iter_bvec(&iter, ITER_SOURCE, zeros, ARRAY_SIZE(zeros),
			      min_t(u64, len - done,
				    ARRAY_SIZE(zeros) * PAGE_SIZE));
		ret = block_rw(range->disk, range->pos + done, &iter, ITER_SOURCE,
			       false);
		if (ret <= 0)
			break;
		done += ret;
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	return block_count(range->disk, done ?: ret);
}

static s64 block_write_zeroes(struct hcall_call *call)
{
	struct block_range range;
	s64 ret;

	if (call->args[3] & ~(u64)HCALL_ZEROES_UNMAP)
		return -HCALL_EINVAL;
	ret = block_range(call, call->args[0], call->args[1], call->args[2],
			  HCALL_BLOCK_MAX_ZEROES_SECTORS, BLOCK_WRITES, &range);
	if (ret)
		return ret;
	if (call->nowait)
		return HCALL_DEFER;

	if (call->args[3] & HCALL_ZEROES_UNMAP) {
		ret = block_fallocate(&range, FALLOC_FL_PUNCH_HOLE);
	} else {
		/* A device without a command for it writes them one by one. */
		if (!range.disk->regular)
			range.len = min_t(u64, range.len, ZEROES_BYTES);
		ret = block_fallocate(&range, FALLOC_FL_ZERO_RANGE);
	}
	if (ret == -EOPNOTSUPP)
		return block_write_zero_pages(&range);
	return block_count(range.disk, ret ?: range.len);
}

/* ---- Set-up --------------------------------------------------------------- */

static int block_check_file(const struct kvm_hcall_add *add, struct file *file)
{
	umode_t mode = file_inode(file)->i_mode;
	bool readonly = add->flags & KVM_HCALL_ADD_READONLY;
	bool direct = add->flags & KVM_HCALL_ADD_DIRECT;

	if (!S_ISREG(mode) && !S_ISBLK(mode))
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ) ||
	    (!readonly && !(file->f_mode & FMODE_WRITE)))
		return -EACCES;
	if (!file->f_op->read_iter || file->f_flags & O_APPEND ||
	    direct != !!(file->f_flags & O_DIRECT))
		return -EINVAL;
	/* A flush that does nothing is worse than none. */
	if (!readonly && (!file->f_op->write_iter || !file->f_op->fsync))
		return -EINVAL;
	return 0;
}

/* What the file wants to be asked for, and how. */
static int block_geometry(struct block_disk *disk, bool direct)
{
	struct kstat stat = {};
	int ret;

	ret = vfs_getattr(&disk->file->f_path, &stat,
			  STATX_BASIC_STATS | STATX_DIOALIGN,
			  AT_STATX_SYNC_AS_STAT);
	if (ret)
		return ret;
	disk->block_bytes = HCALL_SECTOR_BYTES;
	disk->punches = !!disk->file->f_op->fallocate;
	disk->physical_bytes = clamp_t(u32, stat.blksize, HCALL_SECTOR_BYTES,
				       SZ_64K);
	if (S_ISBLK(stat.mode)) {
		struct block_device *bdev =
			I_BDEV(disk->file->f_mapping->host);

		disk->physical_bytes = bdev_physical_block_size(bdev);
		disk->block_bytes = bdev_logical_block_size(bdev);
		/* fallocate() of a block device is a zeroing discard. */
		disk->punches = bdev_write_zeroes_sectors(bdev);
		if (direct)
			disk->memory_mask = bdev_dma_alignment(bdev);
	} else if (direct) {
		disk->memory_mask = HCALL_SECTOR_BYTES - 1;
		if (stat.result_mask & STATX_DIOALIGN &&
		    stat.dio_offset_align) {
			disk->block_bytes = max(stat.dio_offset_align,
						HCALL_SECTOR_BYTES);
			disk->memory_mask = stat.dio_mem_align - 1;
		}
	}
	return 0;
}

/*
 * How big is what is behind it now?  A network file system asks its server.
 * Return: 0, or a negative errno and nothing has changed.
 */
static int block_measure(struct block_disk *disk)
{
	struct kstat stat;
	loff_t size;
	int ret;

	ret = vfs_getattr(&disk->file->f_path, &stat, STATX_SIZE,
			  AT_STATX_SYNC_AS_STAT);
	if (ret)
		return ret;
	/* f_mapping->host is the device's own inode for a block device. */
	size = i_size_read(disk->file->f_mapping->host);
	if (!size || size % disk->block_bytes)
		return -EINVAL;
	WRITE_ONCE(disk->sectors, size / HCALL_SECTOR_BYTES);
	return 0;
}

static int block_resize(struct hcall_dev *dev,
			const struct kvm_hcall_resize *resize)
{
	if (resize->columns || resize->rows)
		return -EINVAL;
	return block_measure(container_of(dev, struct block_disk, dev));
}

static void block_remove(struct hcall_dev *dev)
{
	struct block_disk *disk = container_of(dev, struct block_disk, dev);

	fput(disk->file);
	kfree(disk);
}

static struct hcall_dev *block_add(struct hcall_vm *vm,
				   const struct kvm_hcall_add *add)
{
	struct block_disk *disk;
	int ret;

	if (add->flags & ~(KVM_HCALL_ADD_READONLY | KVM_HCALL_ADD_DIRECT) ||
	    add->fd_in != -1)
		return ERR_PTR(-EINVAL);
	disk = kzalloc(sizeof(*disk), GFP_KERNEL_ACCOUNT);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	hcall_dev_init(&disk->dev, &hcall_block, vm, add);
	disk->file = fget(add->fd);
	if (!disk->file) {
		ret = -EBADF;
		goto free;
	}
	ret = block_check_file(add, disk->file);
	if (ret)
		goto put;
	ret = block_geometry(disk, add->flags & KVM_HCALL_ADD_DIRECT);
	if (ret)
		goto put;
	ret = block_measure(disk);
	if (ret)
		goto put;

	disk->sector_mask = disk->block_bytes / HCALL_SECTOR_BYTES - 1;
	disk->regular = S_ISREG(file_inode(disk->file)->i_mode);
	disk->iocb_flags = disk->file->f_iocb_flags;
	disk->dev.waits = add->flags & KVM_HCALL_ADD_DIRECT;
	if (add->flags & KVM_HCALL_ADD_READONLY)
		disk->dev.flags = HCALL_DEVICE_READONLY;
	return &disk->dev;

put:
	fput(disk->file);
free:
	kfree(disk);
	return ERR_PTR(ret);
}

static void block_describe(struct hcall_dev *dev, struct hcall_device *info)
{
	struct block_disk *disk = container_of(dev, struct block_disk, dev);

	info->u.block.sectors = READ_ONCE(disk->sectors);
	info->u.block.block_bytes = disk->block_bytes;
	info->u.block.physical_bytes = disk->physical_bytes;
	info->u.block.max_sectors = HCALL_BLOCK_MAX_SECTORS;
	if (dev->flags & HCALL_DEVICE_READONLY)
		return;
	info->u.block.max_zeroes_sectors = HCALL_BLOCK_MAX_ZEROES_SECTORS;
	if (disk->punches)
		info->u.block.max_discard_sectors =
			HCALL_BLOCK_MAX_DISCARD_SECTORS;
}

const struct hcall_service hcall_block = {
	.class_id = HCALL_CLASS_BLOCK,
	.index = HCALL_INDEX_BLOCK,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_BLOCK_READ)] = block_read,
		[HCALL_NR_FUNCTION(HCALL_BLOCK_WRITE)] = block_write,
		[HCALL_NR_FUNCTION(HCALL_BLOCK_FLUSH)] = block_flush,
		[HCALL_NR_FUNCTION(HCALL_BLOCK_DISCARD)] = block_discard,
		[HCALL_NR_FUNCTION(HCALL_BLOCK_WRITE_ZEROES)] = block_write_zeroes,
	},
	.functions = HCALL_FN_BIT(HCALL_BLOCK_READ) |
		     HCALL_FN_BIT(HCALL_BLOCK_WRITE) |
		     HCALL_FN_BIT(HCALL_BLOCK_FLUSH) |
		     HCALL_FN_BIT(HCALL_BLOCK_DISCARD) |
		     HCALL_FN_BIT(HCALL_BLOCK_WRITE_ZEROES),
	.add = block_add,
	.remove = block_remove,
	.describe = block_describe,
	.resize = block_resize,
	.virtio = &hcall_virtio_blk,
};
