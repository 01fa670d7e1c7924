// SPDX-License-Identifier: GPL-2.0
/*
 * Class 5, net: Ethernet frames to and from a tap, or two pipes.
 *
 * A frame goes from guest memory straight into the tap's socket, and back.  A
 * tap added with VNET_HDR wants a header before each frame.  As long as the
 * guest has chosen no feature it knows of no header, and the one that the tap
 * gets or gives lies in the launcher's memory.  A pipe in packet mode is for
 * what has no tap, as a network stack in a process of the launcher's.
 *
 * A tap may have several queues, each with a file of its own.  A call takes frames
 * from any of them and sends into that of its vCPU, so that the tap's flow
 * steering answers there; a request in a virtqueue says which it means.
 */
#include <linux/cleanup.h>
#include <linux/etherdevice.h>
#include <linux/file.h>
#include <linux/if_tap.h>
#include <linux/if_tun.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/rtnetlink.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/uaccess.h>
#include <linux/virtio_net.h>

#include "internal.h"
#include "memory.h"
#include "virtio/virtio.h"

#define HEADER_BYTES sizeof(struct hcall_net_header)

static_assert(sizeof(struct hcall_net_header) ==
	      sizeof(struct virtio_net_hdr_v1));
static_assert(HCALL_NET_MIN_BYTES == ETH_HLEN);

/* The launcher's memory: zeros to send, and where to throw away. */
#define BUFFER_SEND 0
#define BUFFER_RECV 64

#define NET_FEATURES                                                    \
	(HCALL_NET_F_CSUM | HCALL_NET_F_GUEST_CSUM |                    \
	 HCALL_NET_F_GUEST_TSO4 | HCALL_NET_F_GUEST_TSO6 |              \
	 HCALL_NET_F_HOST_TSO4 | HCALL_NET_F_HOST_TSO6)

/* A vector ends early when it has moved as much. */
#define VECTOR_BYTES SZ_1M

/*
 * FEATURES takes RTNL and tells all who listen to it, so not at any rate.  Nor
 * does it queue for RTNL if somebody has it, as whoever waits for RTNL is deaf
 * to signals and holds up changes of memslots.
 */
#define FEATURES_PAUSE (HZ / 10)

/* A packet of a pipe is at most a page. */
#define PIPE_BYTES PAGE_SIZE

/**
 * struct nic_queue - one of a tap's queues, or two pipes
 * @socket: the tap's; NULL: two pipes
 * @out:    where frames go to
 * @in:     where they come from; for a tap the same file
 */
struct nic_queue {
	struct socket *socket;
	struct hcall_end out;
	struct hcall_end in;
};

/**
 * struct nic - a network interface
 * @dev:       what all devices have
 * @buffer:    the launcher's memory; NULL: the tap wants no headers
 * @features:  that the guest has chosen; not 0: the guest sees headers
 * @offload:   TUN_F_* that the tap has been told
 * @changed:   when, in jiffies
 * @lock:      FEATURES; RECV from a pipe, or if it looks at the frame first
 * @held:      pipes: bytes in @bounce, a frame that found no room; or 0
 * @bounce:    pipes: PIPE_BYTES, as a packet can only be taken whole
 * @link:      what LINK answers
 * @mac:       of the guest
 * @turn:      the queue that RECV looks at first; a hint, as vCPUs race for it
 * @queues:    elements of @queue
 * @queue:     all alike; who waits for a frame waits for one of any
 */
struct nic {
	struct hcall_dev dev;
	u8 __user *buffer;
	u32 features;
	unsigned long offload;
	unsigned long changed;
	struct mutex lock;
	u32 held;
	void *bounce;
	u32 link;
	u8 mac[ETH_ALEN];
	u32 turn;
	u32 queues;
	struct nic_queue queue[] __counted_by(queues);
};

static struct nic_queue *nic_queue(struct nic *nic, u32 i)
{
	return &nic->queue[array_index_nospec(i, nic->queues)];
}

/* Two pipes instead of a tap. */
static bool nic_is_pipes(const struct nic *nic)
{
	return !nic->queue[0].socket;
}

static s64 net_error(ssize_t error)
{
	return error == -EINVAL ? -HCALL_EINVAL :
	       error == -E2BIG	? -HCALL_E2BIG :
				  hcall_error(error);
}

static u32 net_max_bytes(const struct nic *nic)
{
	return nic_is_pipes(nic) ? PIPE_BYTES : HCALL_NET_MAX_BYTES;
}

static bool net_mtu_ok(const struct nic *nic, u16 mtu)
{
	return mtu >= ETH_MIN_MTU && mtu + VLAN_ETH_HLEN <= net_max_bytes(nic);
}

/* How many bytes of header a guest has before each frame. */
static __always_inline u32 net_header_bytes(const struct nic *nic,
					    const struct hcall_call *call)
{
	return READ_ONCE(nic->features) || call->door == HCALL_DOOR_QUEUE ?
		       HEADER_BYTES : 0;
}

/*
 * The longest frame that a tap has, if the launcher told us the right MTU: large
 * ones come only to who has asked for features.
 */
static u32 net_longest(const struct nic *nic, u32 header)
{
	return header ? HCALL_NET_MAX_BYTES :
			HCALL_LINK_MTU(READ_ONCE(nic->link)) + VLAN_ETH_HLEN;
}

/* ---- Frames ---------------------------------------------------------------- */

/*
 * A frame's memory.  It may lie in some memslots, but not in any number: it
 * cannot be moved in parts.  Afterwards it is as the tap or pipe wants it: one
 * with headers may be for a guest without, and the other way round.
 * @header: bytes of the guest's
 */
static __always_inline int frame_buffer(struct nic *nic,
					const struct hcall_call *call, u64 gpa,
					u32 bytes, u32 header, unsigned int dir,
					struct hcall_buffer *buffer)
{
	if (hcall_call_buffer(call, gpa, bytes, dir, buffer))
		return -EFAULT;
	if (nic->buffer && !header)
		hcall_buffer_prefix(buffer,
				    nic->buffer + (dir == ITER_SOURCE ?
							   BUFFER_SEND :
							   BUFFER_RECV),
				    HEADER_BYTES);
	else if (unlikely(header && !nic->buffer))
		iov_iter_advance(&buffer->iter, header);
	return 0;
}

/* What sendmsg() does, without a message around it. */
static __always_inline ssize_t tap_send(struct nic_queue *queue,
					struct iov_iter *iter)
{
	struct file *file = queue->out.file;
	struct kiocb iocb = { .ki_filp = file, .ki_flags = IOCB_NOWAIT };

	return file->f_op->write_iter(&iocb, iter);
}

/* Return: @bytes or a negative errno. */
static __always_inline ssize_t frame_send(struct nic *nic,
					  struct nic_queue *queue,
					  const struct hcall_call *call, u64 gpa,
					  u32 bytes)
{
	struct hcall_buffer buffer __uninitialized; /* hcall_buffer() */
	u32 header = net_header_bytes(nic, call);
	ssize_t ret;

	if (bytes < HCALL_NET_MIN_BYTES + header)
		return -EINVAL;
	if (bytes - (nic->buffer ? 0 : header) > net_max_bytes(nic))
		return -E2BIG;
	ret = frame_buffer(nic, call, gpa, bytes, header, ITER_SOURCE, &buffer);
	if (ret)
		return ret;
	ret = queue->socket ? tap_send(queue, &buffer.iter) :
			      hcall_end_rw(&queue->out, &buffer.iter);
	return ret < 0 ? ret : bytes;
}

/* Return: bytes of the frame and its header, or a negative errno. */
static __always_inline ssize_t tap_take(struct nic_queue *queue,
					const struct iov_iter *iter)
{
	struct msghdr msg = { .msg_iter = *iter };
	size_t room = iov_iter_count(iter);
	int ret;

	ret = queue->socket->ops->recvmsg(queue->socket, &msg, room,
					  MSG_DONTWAIT | MSG_TRUNC);
	if (ret < 0)
		return ret;
	/* Longer than the link carries, or another than we looked at: lost. */
	if (unlikely(ret > room))
		return -E2BIG;
	/* It does not say so if the memory has gone, and the frame with it. */
	if (unlikely(iov_iter_count(&msg.msg_iter) != room - ret))
		return -EFAULT;
	return ret;
}

/*
 * With too little room for some: one that does not fit stays in the queue.  Who
 * takes any frame does without the lock, and may take the one we look at.
 */
static noinline ssize_t tap_take_fitting(struct nic *nic,
					 struct nic_queue *queue,
					 const struct iov_iter *iter)
{
	ssize_t ret;

	/* Somebody's memory may be slow to come. */
	if (mutex_lock_interruptible(&nic->lock))
		return -EINTR;
	ret = queue->socket->ops->peek_len(queue->socket);
	if (ret <= 0)
		ret = -EAGAIN;
	else if (ret + (nic->buffer ? HEADER_BYTES : 0) > iov_iter_count(iter))
		ret = -E2BIG;
	else
		ret = tap_take(queue, iter);
	mutex_unlock(&nic->lock);
	return ret;
}

/* A guest's header of a frame that has none: one buffer, nothing left undone. */
static int frame_header(const struct hcall_call *call, u64 gpa)
{
	static const struct hcall_net_header plain = { .buffers = 1 };

	return hcall_call_write(call, gpa, 0, &plain, sizeof(plain));
}

static __always_inline ssize_t tap_recv(struct nic *nic,
					struct nic_queue *queue,
					const struct hcall_call *call, u64 gpa,
					u32 room)
{
	struct hcall_buffer buffer __uninitialized; /* hcall_buffer() */
	u32 header = net_header_bytes(nic, call);
	static const u16 one = 1;
	ssize_t ret;

	if (room <= header)
		return -E2BIG;
	ret = frame_buffer(nic, call, gpa, room, header, ITER_DEST, &buffer);
	if (ret)
		return ret;
	/* In a queue there is no better room to wait for. */
	if (likely(room >= net_longest(nic, header) ||
		   call->door == HCALL_DOOR_QUEUE))
		ret = tap_take(queue, &buffer.iter);
	else
		ret = tap_take_fitting(nic, queue, &buffer.iter);
	if (ret < 0)
		return ret;
	if (!nic->buffer)
		ret += header;
	else if (!header)
		ret -= HEADER_BYTES;
	if (unlikely(buffer.logged))
		hcall_call_dirty(call, gpa, ret);
	if (!header)
		return ret;
	if (!nic->buffer)
		return frame_header(call, gpa) ?: ret;
	/* The tap leaves room for this, and leaves it as it is. */
	if (hcall_call_write(call, gpa, offsetof(struct hcall_net_header, buffers),
			     &one, sizeof(one)))
		return -EFAULT;
	return ret;
}

/*
 * A pipe gives a packet whole or loses the rest, so it goes through @bounce.
 * Return: as frame_recv().
 */
static ssize_t pipe_recv_locked(struct nic *nic, const struct hcall_call *call,
				u64 gpa, u32 room)
{
	struct kvec kvec = { nic->bounce, PIPE_BYTES };
	u32 header = net_header_bytes(nic, call);
	struct iov_iter iter;
	ssize_t ret;

	lockdep_assert_held(&nic->lock);
	if (hcall_call_check(call, gpa, room, ITER_DEST))
		return -EFAULT;
	if (!nic->held) {
		iov_iter_kvec(&iter, ITER_DEST, &kvec, 1, PIPE_BYTES);
		ret = hcall_end_rw(&nic->queue[0].in, &iter);
		if (ret <= 0)
			return ret ?: -EIO; /* the writer has gone */
		nic->held = ret;
	}
	ret = nic->held;
	if (ret + header > room) {
		/* In a queue there is no better room to wait for. */
		if (call->door == HCALL_DOOR_QUEUE)
			nic->held = 0;
		return -E2BIG;
	}
	if ((header && frame_header(call, gpa)) ||
	    hcall_call_write(call, gpa, header, nic->bounce, ret))
		return -EFAULT;
	nic->held = 0;
	return ret + header;
}

static noinline ssize_t pipe_recv(struct nic *nic, const struct hcall_call *call,
				  u64 gpa, u32 room)
{
	ssize_t ret;

	/* Somebody's memory may be slow to come. */
	if (mutex_lock_interruptible(&nic->lock))
		return -EINTR;
	ret = pipe_recv_locked(nic, call, gpa, room);
	mutex_unlock(&nic->lock);
	return ret;
}

/* From one queue. */
static __always_inline ssize_t queue_recv(struct nic *nic,
					  struct nic_queue *queue,
					  const struct hcall_call *call, u64 gpa,
					  u32 room)
{
	return queue->socket ? tap_recv(nic, queue, call, gpa, room) :
			       pipe_recv(nic, call, gpa, room);
}

/* From the one that is next and has a frame. */
static noinline ssize_t queues_recv(struct nic *nic,
				    const struct hcall_call *call, u64 gpa,
				    u32 room)
{
	u32 i, turn = READ_ONCE(nic->turn);
	ssize_t ret = -EAGAIN;

	if (call->door == HCALL_DOOR_QUEUE)
		return queue_recv(nic, nic_queue(nic, call->queue), call, gpa,
				  room);
	for (i = 0; i < nic->queues && ret == -EAGAIN; i++) {
		ret = queue_recv(nic, nic_queue(nic, turn), call, gpa, room);
		/* One that does not fit is still the next. */
		if (ret != -E2BIG)
			turn = (turn + 1) % nic->queues;
	}
	WRITE_ONCE(nic->turn, turn);
	return ret;
}

/* Return: bytes of the frame and its header, or a negative errno. */
static __always_inline ssize_t frame_recv(struct nic *nic,
					  const struct hcall_call *call, u64 gpa,
					  u32 room)
{
	return likely(nic->queues == 1) ?
		       queue_recv(nic, &nic->queue[0], call, gpa, room) :
		       queues_recv(nic, call, gpa, room);
}

/* Where a call's frames go to: the worker has no vCPU. */
static __always_inline struct nic_queue *
frame_queue(struct nic *nic, const struct hcall_call *call)
{
	u32 i = 0;

	if (likely(nic->queues == 1))
		return &nic->queue[0];
	if (call->door == HCALL_DOOR_QUEUE)
		i = call->queue;
	else if (call->vcpu)
		i = hcall_vcpu(call);
	return nic_queue(nic, i % nic->queues);
}

/**
 * hcall_net_queues() - how many queues an interface has
 * @dev: of class net
 */
u32 hcall_net_queues(const struct hcall_dev *dev)
{
	return container_of(dev, struct nic, dev)->queues;
}

/**
 * hcall_net_next() - look for the next frame, in some of an interface's queues
 * @call:  of a virtqueue
 * @unit:  the device's number
 * @first: of the queues
 * @step:  from each to the next of them
 * @next:  IN: the queue that the frame before came from; OUT: where there is one,
 *	   in turn
 *
 * Return: the room that it wants in bytes, with a header; if that is not known, as
 * much as for any; 0: there is no frame.
 */
u32 hcall_net_next(const struct hcall_call *call, u64 unit, u32 first, u32 step,
		   u32 *next)
{
	struct hcall_dev *dev = hcall_dev(call, HCALL_INDEX_NET, unit);
	struct nic_queue *queue;
	struct nic *nic;
	u32 left;
	int bytes;

	if (!dev)
		return 0;
	nic = container_of(dev, struct nic, dev);
	if (nic_is_pipes(nic)) {
		*next = 0;
		return PIPE_BYTES + HEADER_BYTES;
	}
	for (left = nic->queues; left > first; left -= min(left, step)) {
		*next += step;
		if (*next >= nic->queues || *next % step != first)
			*next = first;
		queue = nic_queue(nic, *next);
		bytes = queue->socket->ops->peek_len(queue->socket);
		if (bytes > 0)
			return bytes + HEADER_BYTES;
	}
	return 0;
}

/* ---- Calls ----------------------------------------------------------------- */

static struct nic *net_of(const struct hcall_call *call)
{
	struct hcall_dev *dev = hcall_dev(call, HCALL_INDEX_NET, call->args[0]);

	return dev ? container_of(dev, struct nic, dev) : NULL;
}

static s64 net_send(struct hcall_call *call)
{
	u64 gpa = call->args[1], bytes = call->args[2], flags = call->args[3];
	struct nic_queue *queue;
	struct nic *nic;
	ssize_t ret;

	if (bytes < HCALL_NET_MIN_BYTES || flags & ~(u64)HCALL_NOWAIT)
		return -HCALL_EINVAL;
	nic = net_of(call);
	if (!nic)
		return -HCALL_ENODEV;
	bytes = min_t(u64, bytes, U32_MAX);
	queue = frame_queue(nic, call);
	ret = frame_send(nic, queue, call, gpa, bytes);
	if (unlikely(ret == -EAGAIN)) {
		ret = hcall_end_wait(&queue->out, call, flags);
		if (!ret)
			ret = frame_send(nic, queue, call, gpa, bytes);
	}
	if (ret < 0)
		return net_error(ret);
	call->bytes = ret;
	return 0;
}

static s64 net_recv(struct hcall_call *call)
{
	u64 gpa = call->args[1], room = call->args[2], flags = call->args[3];
	struct nic *nic;
	ssize_t ret;

	if (!room || flags & ~(u64)HCALL_NOWAIT)
		return -HCALL_EINVAL;
	nic = net_of(call);
	if (!nic)
		return -HCALL_ENODEV;
	if (room > HCALL_NET_MAX_BYTES)
		return -HCALL_E2BIG;
	ret = frame_recv(nic, call, gpa, room);
	if (ret == -EAGAIN) {
		ret = hcall_end_wait(&nic->queue[0].in, call, flags);
		if (!ret)
			ret = frame_recv(nic, call, gpa, room);
	}
	if (ret < 0)
		return net_error(ret);
	call->bytes = ret;
	return ret;
}

/* A vector's element @i; see batch_fetch() in sys.c. */
static __always_inline int vector_fetch(struct hcall_vm *vm,
					const struct hcall_span *span, u64 gpa,
					u32 i, struct hcall_frame *frame)
{
	struct hcall_frame __user *user;

	if (!span)
		return hcall_read(vm, gpa + i * sizeof(*frame), frame,
				  sizeof(*frame));
	user = (struct hcall_frame __user *)span->user + i;
	if (!user_read_access_begin(user, sizeof(*user)))
		return -EFAULT;
	unsafe_get_user(frame->gpa, &user->gpa, fault);
	unsafe_get_user(frame->bytes, &user->bytes, fault);
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

/* Who takes this memory away meanwhile has received the frame. */
static __always_inline void vector_answer(struct hcall_vm *vm,
					  const struct hcall_span *span,
					  u64 gpa, u32 i, u32 used)
{
	struct hcall_frame __user *user;

	if (span && likely(!span->logged)) {
		user = (struct hcall_frame __user *)span->user + i;
		put_user(used, &user->used);
	} else {
		gpa += i * sizeof(*user) + offsetof(struct hcall_frame, used);
		hcall_write(vm, gpa, &used, sizeof(used));
	}
}

static __always_inline ssize_t vector_recv(struct nic *nic,
					   const struct hcall_call *call,
					   const struct hcall_frame *frame)
{
	if (!frame->bytes)
		return -EINVAL;
	if (frame->bytes > HCALL_NET_MAX_BYTES)
		return -E2BIG;
	return frame_recv(nic, call, frame->gpa, frame->bytes);
}

/*
 * Frames, each fetched once, until one fails.  Only if it is the first the
 * guest hears why, and may sleep.
 */
static __always_inline s64 net_vector(struct hcall_call *call, bool out)
{
	u64 gpa = call->args[1], count = call->args[2], flags = call->args[3];
	struct hcall_frame frame __uninitialized; /* vector_fetch() */
	struct hcall_span array, *span = &array;
	struct hcall_vm *vm = call->vm;
	struct nic_queue *queue;
	bool tried = false;
	struct nic *nic;
	ssize_t ret = 0;
	u64 done = 0;

	if (!count || gpa % sizeof(u64) || flags & ~(u64)HCALL_NOWAIT)
		return -HCALL_EINVAL;
	nic = net_of(call);
	if (!nic)
		return -HCALL_ENODEV;
	if (count > HCALL_NET_MAX_FRAMES)
		return -HCALL_E2BIG;
	if (!hcall_span(vm, gpa, count * sizeof(frame), span)) {
		span = NULL;
		if (hcall_check(vm, gpa, count * sizeof(frame),
				out ? ITER_SOURCE : ITER_DEST))
			return -HCALL_EFAULT;
	}
	queue = frame_queue(nic, call);
	while (done < count) {
		ret = vector_fetch(vm, span, gpa, done, &frame);
		if (!ret)
			ret = out ? frame_send(nic, queue, call, frame.gpa,
					       frame.bytes) :
				    vector_recv(nic, call, &frame);
		if (ret == -EAGAIN && !done && !tried) {
			tried = true;
			ret = hcall_end_wait(out ? &queue->out :
						   &nic->queue[0].in,
					     call, flags);
			if (!ret)
				continue;
		}
		if (ret < 0)
			break;
		if (!out)
			vector_answer(vm, span, gpa, done, ret);
		call->bytes += ret;
		done++;
		if (signal_pending(current) || call->bytes >= VECTOR_BYTES)
			break;
		if (need_resched())
			cond_resched();
	}
	return done ?: net_error(ret);
}

static s64 net_sendv(struct hcall_call *call)
{
	return net_vector(call, true);
}

static s64 net_recvv(struct hcall_call *call)
{
	return net_vector(call, false);
}

/* What the host may leave undone in frames for the guest; its own are clear. */
static unsigned long net_tun_offload(u64 features)
{
	return (features & HCALL_NET_F_GUEST_CSUM ? TUN_F_CSUM : 0) |
	       (features & HCALL_NET_F_GUEST_TSO4 ? TUN_F_TSO4 : 0) |
	       (features & HCALL_NET_F_GUEST_TSO6 ? TUN_F_TSO6 : 0);
}

static long net_offload(struct nic *nic, unsigned long offload)
{
	struct file *file = nic->queue[0].out.file;
	long ret;

	lockdep_assert_held(&nic->lock);
	if (offload == nic->offload)
		return 0;
	if (time_before(jiffies, nic->changed + FEATURES_PAUSE) ||
	    rtnl_is_locked())
		return -EAGAIN;
	nic->changed = jiffies;
	ret = file->f_op->unlocked_ioctl(file, TUNSETOFFLOAD, offload);
	if (!ret)
		nic->offload = offload;
	return ret;
}

static bool net_features_ok(u64 features)
{
	if (features & (HCALL_NET_F_HOST_TSO4 | HCALL_NET_F_HOST_TSO6) &&
	    !(features & HCALL_NET_F_CSUM))
		return false;
	return !(features & (HCALL_NET_F_GUEST_TSO4 | HCALL_NET_F_GUEST_TSO6)) ||
	       features & HCALL_NET_F_GUEST_CSUM;
}

static s64 net_features(struct hcall_call *call)
{
	u64 features = call->args[1];
	struct nic *nic;
	long ret;

	if (features & ~(u64)NET_FEATURES || !net_features_ok(features))
		return -HCALL_EINVAL;
	nic = net_of(call);
	if (!nic)
		return -HCALL_ENODEV;
	if (features && !nic->buffer)
		return -HCALL_EINVAL;
	if (mutex_lock_interruptible(&nic->lock))
		return -HCALL_EINTR;
	ret = net_offload(nic, net_tun_offload(features));
	if (!ret)
		WRITE_ONCE(nic->features, features);
	mutex_unlock(&nic->lock);
	return ret ? hcall_error(ret) : 0;
}

static s64 net_link(struct hcall_call *call)
{
	struct nic *nic = net_of(call);

	/* Not "?:": of u32 and int it makes u32, and of an error a number. */
	if (!nic)
		return -HCALL_ENODEV;
	return READ_ONCE(nic->link);
}

/* ---- Set-up ----------------------------------------------------------------- */

static struct socket *tun_socket(struct file *file)
{
	struct socket *(*get)(struct file *file) = symbol_get(tun_get_socket);
	struct socket *socket = ERR_PTR(-EINVAL);

	/* The file keeps the module, so it need not be kept by us. */
	if (get) {
		socket = get(file);
		symbol_put(tun_get_socket);
	}
	return socket;
}

static struct socket *tap_socket(struct file *file)
{
	struct socket *(*get)(struct file *file) = symbol_get(tap_get_socket);
	struct socket *socket = ERR_PTR(-EINVAL);

	if (get) {
		socket = get(file);
		symbol_put(tap_get_socket);
	}
	return socket;
}

/* The launcher's memory is also where the tap can tell what it is. */
static int net_check_tap(struct file *file, u8 __user *buffer)
{
	const short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	unsigned long user = (unsigned long)buffer;
	int header_bytes;
	struct ifreq ifr;

	if (file->f_op->unlocked_ioctl(file, TUNGETIFF, user) ||
	    copy_from_user(&ifr, buffer, sizeof(ifr)) ||
	    (ifr.ifr_flags & flags) != flags ||
	    file->f_op->unlocked_ioctl(file, TUNGETVNETHDRSZ, user) ||
	    copy_from_user(&header_bytes, buffer, sizeof(header_bytes)) ||
	    header_bytes != HEADER_BYTES ||
	    file->f_op->unlocked_ioctl(file, TUNSETOFFLOAD, 0) ||
	    clear_user(buffer, KVM_HCALL_BUFFER_BYTES))
		return -EINVAL;
	return 0;
}

static int net_open_tap(struct nic *nic, const struct kvm_hcall_add *add, u32 i,
			int fd)
{
	struct nic_queue *queue = &nic->queue[i];
	struct file *file = fget(fd);
	int ret;

	if (!file)
		return -EBADF;
	if (!(file->f_mode & FMODE_READ) || !(file->f_mode & FMODE_WRITE)) {
		fput(file);
		return -EACCES;
	}
	queue->in.pair = i;
	queue->out.pair = i;
	queue->in.first = &nic->queue[0].in;
	if (i)
		nic->queue[i - 1].in.next = &queue->in;
	ret = hcall_end_open(&queue->in, &nic->dev, file, EPOLLIN);
	if (ret)
		return ret;
	ret = hcall_end_open(&queue->out, &nic->dev, get_file(file), EPOLLOUT);
	if (ret)
		return ret;
	queue->socket = tun_socket(file);
	if (IS_ERR(queue->socket))
		queue->socket = tap_socket(file);
	if (IS_ERR(queue->socket))
		return PTR_ERR(queue->socket);
	if (!(add->flags & KVM_HCALL_ADD_VNET_HDR))
		return add->buffer ? -EINVAL : 0;
	nic->buffer = u64_to_user_ptr(add->buffer);
	return nic->buffer ? net_check_tap(file, nic->buffer) : -EINVAL;
}

static int net_open_taps(struct nic *nic, const struct kvm_hcall_add *add,
			 const struct kvm_hcall_queues *more)
{
	int ret = net_open_tap(nic, add, 0, add->fd);
	u32 i;

	for (i = 1; i < nic->queues && !ret; i++)
		ret = net_open_tap(nic, add, i, more->fd[i - 1]);
	return ret;
}

static int net_open_pipe(struct nic *nic, struct hcall_end *end, int fd,
			 bool out)
{
	struct file *file = fget(fd);
	int ret = -EINVAL;

	if (!file)
		return -EBADF;
	if (!(file->f_mode & (out ? FMODE_WRITE : FMODE_READ)))
		ret = -EACCES;
	else if (S_ISFIFO(file_inode(file)->i_mode) &&
		 (!out || file->f_flags & O_DIRECT))
		ret = 0;
	if (ret) {
		fput(file);
		return ret;
	}
	return hcall_end_open(end, &nic->dev, file, out ? EPOLLOUT : EPOLLIN);
}

static int net_open_pipes(struct nic *nic, const struct kvm_hcall_add *add)
{
	int ret;

	if (add->flags || add->buffer || add->queues ||
	    !net_mtu_ok(nic, add->mtu))
		return -EINVAL;
	nic->bounce = kmalloc(PIPE_BYTES, GFP_KERNEL_ACCOUNT);
	if (!nic->bounce)
		return -ENOMEM;
	ret = net_open_pipe(nic, &nic->queue[0].out, add->fd, true);
	return ret ?: net_open_pipe(nic, &nic->queue[0].in, add->fd_in, false);
}

static void net_remove(struct hcall_dev *dev)
{
	struct nic *nic = container_of(dev, struct nic, dev);
	u32 i;

	for (i = nic->queues; i-- > 0;) {
		hcall_end_close(&nic->queue[i].out);
		hcall_end_close(&nic->queue[i].in);
	}
	mutex_destroy(&nic->lock);
	kfree(nic->bounce);
	kvfree(nic);
}

/* What @more says is checked, or there are none.  Return: 0, -EFAULT or -EINVAL. */
static int net_more_queues(const struct kvm_hcall_add *add,
			   struct kvm_hcall_queues *more)
{
	u32 i;

	if (!add->queues)
		return 0;
	if (copy_from_user(more, u64_to_user_ptr(add->queues), sizeof(*more)))
		return -EFAULT;
	if (more->flags || !more->count || more->count > ARRAY_SIZE(more->fd))
		return -EINVAL;
	for (i = more->count; i < ARRAY_SIZE(more->fd); i++) {
		if (more->fd[i] != -1)
			return -EINVAL;
	}
	return 0;
}

static struct hcall_dev *net_add(struct hcall_vm *vm,
				 const struct kvm_hcall_add *add)
{
	struct kvm_hcall_queues more = {};
	struct nic *nic;
	int ret;

	if (add->flags & ~KVM_HCALL_ADD_VNET_HDR || add->mtu < ETH_MIN_MTU ||
	    !is_valid_ether_addr(add->mac))
		return ERR_PTR(-EINVAL);
	ret = net_more_queues(add, &more);
	if (ret)
		return ERR_PTR(ret);
	nic = kvzalloc(struct_size(nic, queue, 1 + more.count),
		       GFP_KERNEL_ACCOUNT);
	if (!nic)
		return ERR_PTR(-ENOMEM);
	nic->queues = 1 + more.count;
	hcall_dev_init(&nic->dev, &hcall_net, vm, add);
	mutex_init(&nic->lock);
	nic->link = HCALL_LINK_UP | add->mtu;
	memcpy(nic->mac, add->mac, sizeof(nic->mac));
	if (add->fd_in == -1)
		ret = net_open_taps(nic, add, &more);
	else
		ret = net_open_pipes(nic, add);
	if (ret) {
		net_remove(&nic->dev);
		return ERR_PTR(ret);
	}
	return &nic->dev;
}

static bool net_ready(struct hcall_dev *dev)
{
	struct nic *nic = container_of(dev, struct nic, dev);
	u32 i;

	for (i = 0; i < nic->queues; i++) {
		if (hcall_end_ready(&nic->queue[i].in))
			return true;
	}
	return false;
}

static void net_describe(struct hcall_dev *dev, struct hcall_device *info)
{
	struct nic *nic = container_of(dev, struct nic, dev);
	u32 link = READ_ONCE(nic->link);

	memcpy(info->u.net.mac, nic->mac, sizeof(nic->mac));
	info->u.net.mtu = HCALL_LINK_MTU(link);
	info->u.net.features = nic->buffer ? NET_FEATURES : 0;
	info->u.net.link = !!(link & HCALL_LINK_UP);
	info->u.net.max_bytes = net_max_bytes(nic);
	info->u.net.max_frames = HCALL_NET_MAX_FRAMES;
}

static int net_relink(struct hcall_dev *dev, const struct kvm_hcall_link *link)
{
	struct nic *nic = container_of(dev, struct nic, dev);

	if (!net_mtu_ok(nic, link->mtu))
		return -EINVAL;
	WRITE_ONCE(nic->link,
		   link->mtu |
			   (link->flags & KVM_HCALL_LINK_UP ? HCALL_LINK_UP : 0));
	return 0;
}

const struct hcall_service hcall_net = {
	.class_id = HCALL_CLASS_NET,
	.index = HCALL_INDEX_NET,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_NET_SEND)] = net_send,
		[HCALL_NR_FUNCTION(HCALL_NET_RECV)] = net_recv,
		[HCALL_NR_FUNCTION(HCALL_NET_SENDV)] = net_sendv,
		[HCALL_NR_FUNCTION(HCALL_NET_RECVV)] = net_recvv,
		[HCALL_NR_FUNCTION(HCALL_NET_FEATURES)] = net_features,
		[HCALL_NR_FUNCTION(HCALL_NET_LINK)] = net_link,
	},
	.functions = HCALL_FN_BIT(HCALL_NET_SEND) |
		     HCALL_FN_BIT(HCALL_NET_RECV) |
		     HCALL_FN_BIT(HCALL_NET_SENDV) |
		     HCALL_FN_BIT(HCALL_NET_RECVV) |
		     HCALL_FN_BIT(HCALL_NET_FEATURES) |
		     HCALL_FN_BIT(HCALL_NET_LINK),
	.add = net_add,
	.ready = net_ready,
	.remove = net_remove,
	.describe = net_describe,
	.link = net_relink,
	.virtio = &hcall_virtio_net,
};
