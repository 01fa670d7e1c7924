/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints.  Names and fields are an interface: Documentation/tracing.rst.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm_hcall

#if !defined(HCALL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HCALL_TRACE_H

#include <linux/tracepoint.h>

#include "internal.h"

/* For tools that print what they read by the format file: a name is no number. */
TRACE_DEFINE_ENUM(HCALL_DOOR_REGISTER);
TRACE_DEFINE_ENUM(HCALL_DOOR_BATCH);
TRACE_DEFINE_ENUM(HCALL_DOOR_ASYNC);
TRACE_DEFINE_ENUM(HCALL_DOOR_QUEUE);

#define HCALL_SHOW_DOOR(door)                          \
	__print_symbolic(door,                         \
			 { HCALL_DOOR_REGISTER, "register" }, \
			 { HCALL_DOOR_BATCH, "batch" },       \
			 { HCALL_DOOR_ASYNC, "async" },       \
			 { HCALL_DOOR_QUEUE, "queue" })

#define HCALL_SHOW_CLASS(class_id)                     \
	__print_symbolic(class_id,                     \
			 { HCALL_CLASS_SYS, "sys" },          \
			 { HCALL_CLASS_CONSOLE, "console" },  \
			 { HCALL_CLASS_BLOCK, "block" },      \
			 { HCALL_CLASS_TIMER, "timer" },      \
			 { HCALL_CLASS_INPUT, "input" },      \
			 { HCALL_CLASS_NET, "net" },          \
			 { HCALL_CLASS_EVENT, "event" },      \
			 { HCALL_CLASS_VIRTIO, "virtio" })

/* A call comes. */
TRACE_EVENT_FN(hcall_enter,
	TP_PROTO(const struct hcall_call *call),
	TP_ARGS(call),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(s32, vcpu)
		__field(u8, class_id)
		__field(u8, function)
		__field(u8, door)
		__array(u64, args, 4)
	),
	TP_fast_assign(
		__entry->vm = call->vm->id;
		__entry->vcpu = call->vcpu ? hcall_vcpu(call) : -1;
		__entry->class_id = HCALL_NR_CLASS(call->nr);
		__entry->function = HCALL_NR_FUNCTION(call->nr);
		__entry->door = call->door;
		memcpy(__entry->args, call->args, sizeof(__entry->args));
	),
	TP_printk("vm=%u vcpu=%d class=%s function=%u door=%s args=%#llx,%#llx,%#llx,%#llx",
		  __entry->vm, __entry->vcpu,
		  HCALL_SHOW_CLASS(__entry->class_id), __entry->function,
		  HCALL_SHOW_DOOR(__entry->door), __entry->args[0],
		  __entry->args[1], __entry->args[2], __entry->args[3]),
	hcall_watch, hcall_unwatch
);

/* It has been answered. */
TRACE_EVENT_FN(hcall_exit,
	TP_PROTO(const struct hcall_call *call, s64 result, u64 duration_ns),
	TP_ARGS(call, result, duration_ns),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(s32, vcpu)
		__field(u8, class_id)
		__field(u8, function)
		__field(u8, door)
		__array(u64, args, 4)
		__field(s64, result)
		__field(u64, bytes)
		__field(u64, duration_ns)
	),
	TP_fast_assign(
		__entry->vm = call->vm->id;
		__entry->vcpu = call->vcpu ? hcall_vcpu(call) : -1;
		__entry->class_id = HCALL_NR_CLASS(call->nr);
		__entry->function = HCALL_NR_FUNCTION(call->nr);
		__entry->door = call->door;
		memcpy(__entry->args, call->args, sizeof(__entry->args));
		__entry->result = result;
		__entry->bytes = call->bytes;
		__entry->duration_ns = duration_ns;
	),
	TP_printk("vm=%u vcpu=%d class=%s function=%u door=%s args=%#llx,%#llx,%#llx,%#llx result=%lld bytes=%llu duration_ns=%llu",
		  __entry->vm, __entry->vcpu,
		  HCALL_SHOW_CLASS(__entry->class_id), __entry->function,
		  HCALL_SHOW_DOOR(__entry->door), __entry->args[0],
		  __entry->args[1], __entry->args[2], __entry->args[3],
		  __entry->result, __entry->bytes, __entry->duration_ns),
	hcall_watch, hcall_unwatch
);

DECLARE_EVENT_CLASS(hcall_device,
	TP_PROTO(const struct hcall_dev *dev),
	TP_ARGS(dev),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u8, class_id)
		__field(u32, unit)
		__field(u32, channel)
		__array(char, name, HCALL_NAME_BYTES)
	),
	TP_fast_assign(
		__entry->vm = dev->vm->id;
		__entry->class_id = dev->service->class_id;
		__entry->unit = dev->unit;
		__entry->channel = dev->channel;
		memcpy(__entry->name, dev->name, sizeof(__entry->name));
	),
	TP_printk("vm=%u class=%s unit=%u channel=%u name=%s", __entry->vm,
		  HCALL_SHOW_CLASS(__entry->class_id), __entry->unit,
		  __entry->channel, __entry->name)
);

/* The launcher has added a device. */
DEFINE_EVENT(hcall_device, hcall_device_attach,
	TP_PROTO(const struct hcall_dev *dev),
	TP_ARGS(dev)
);

/* It is taken away, by REMOVE or because the instance is closed. */
DEFINE_EVENT(hcall_device, hcall_device_detach,
	TP_PROTO(const struct hcall_dev *dev),
	TP_ARGS(dev)
);

/* A channel fires; not news if the guest has not taken what was there. */
TRACE_EVENT(hcall_event,
	TP_PROTO(const struct hcall_vm *vm, u32 channel, bool news),
	TP_ARGS(vm, channel, news),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, channel)
		__field(bool, news)
	),
	TP_fast_assign(
		__entry->vm = vm->id;
		__entry->channel = channel;
		__entry->news = news;
	),
	TP_printk("vm=%u channel=%u news=%d", __entry->vm, __entry->channel,
		  __entry->news)
);

/* A timer expires: so many periods at once, so late. */
TRACE_EVENT(hcall_timer,
	TP_PROTO(const struct hcall_vm *vm, u32 timer, u64 periods, s64 late_ns),
	TP_ARGS(vm, timer, periods, late_ns),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, timer)
		__field(u64, periods)
		__field(s64, late_ns)
	),
	TP_fast_assign(
		__entry->vm = vm->id;
		__entry->timer = timer;
		__entry->periods = periods;
		__entry->late_ns = late_ns;
	),
	TP_printk("vm=%u timer=%u periods=%llu late_ns=%lld", __entry->vm,
		  __entry->timer, __entry->periods, __entry->late_ns)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
