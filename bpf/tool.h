/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the loaders of all tools have in common.  A loader is, in this order:
 *
 *	tool_parse(&argp, argc, argv);	options; starts COMMAND, which waits
 *	skel = x_bpf__open();
 *	skel->rodata->filter = tool_filter();
 *	if (x_bpf__load(skel) || x_bpf__attach(skel))
 *		tool_failed("attach");
 *	tool_attach_ops(skel->maps.x, &skel->bss->ejection);	struct_ops only
 *	tool_release();			COMMAND goes on
 *	while (tool_wait(fd, ns))	until Ctrl-C, --duration, COMMAND's end, ...
 *		print what there is;
 *	x_bpf__detach(skel);
 *	print what is left;
 *	return tool_end(lost);
 *
 * All of it is for one thread.
 */
#ifndef TOOL_H
#define TOOL_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <json-c/json.h>

#include <hcall.h>

#include "tool.bpf.h"

/* Exit status of a failure and of wrong options. */
#define TOOL_FAILED 1

/**
 * struct tool - what the common options say
 * @vm:       --vm, 0: all
 * @classes:  --class, a bit for each; none: all
 * @has_unit: --unit was given
 * @unit:     --unit
 * @json:     --json
 * @verbose:  --verbose
 * @command:  COMMAND and its arguments, then NULL; or NULL
 */
extern struct tool {
	__u32 vm;
	__u64 classes[4];
	bool has_unit;
	__u32 unit;
	bool json;
	bool verbose;
	char **command;
} tool;

/* ---- Options -------------------------------------------------------------- */

/*
 * Children of a tool's argp; --version is there by itself.  A parser that returns
 * ARGP_ERR_UNKNOWN for ARGP_KEY_ARG leaves COMMAND to tool_argp.
 */
extern const struct argp tool_filter_argp; /* --vm, --class, --unit */
extern const struct argp tool_vm_argp; /* --vm alone */
extern const struct argp tool_argp; /* --json, --output, ..., COMMAND */

/* tool_filter_argp and tool_argp, with headings, for struct argp's .children */
extern const struct argp_child tool_children[];

/**
 * tool_parse() - parse the options; check that the tool can run; start COMMAND
 * @argp: the tool's own
 * @argc: as main() has it
 * @argv: the same
 *
 * COMMAND waits for tool_release().  Exits with words for the user if an option
 * is wrong, the module is not loaded, has no BTF, --vm is not there, ...
 */
void tool_parse(const struct argp *argp, int argc, char **argv);

/* Its first part, the options: all that a tool needs that looks at no VM. */
void tool_options(const struct argp *argp, int argc, char **argv);

/*
 * A number at the beginning of @text: decimal, or hexadecimal behind "0x"; @end: what
 * comes after it.  Return: there is one.
 */
bool tool_digits(const char *text, const char **end, __u64 *number);

/* An option's value as a number, or words for the user and exit. */
__u64 tool_number(struct argp_state *state, const char *text, __u64 min,
		  __u64 max);

/* The same of seconds with a fraction, or "2ms", "5us", "7ns"; in ns. */
__u64 tool_time_ns(struct argp_state *state, const char *text);

/* ---- Running --------------------------------------------------------------- */

/* What the program wants to know: for skel->rodata->filter. */
struct tool_filter tool_filter(void);

/*
 * The programs are attached: let COMMAND, if there is one, go on.  From now on
 * tool_wait() returns false if the VM of --vm is closed.
 */
void tool_release(void);

/* For hcall_ops.classes: a mask that has at least these classes. */
__u64 tool_class_mask(const __u64 classes[4]);

/**
 * tool_attach_ops() - attach a struct hcall_ops, or words for the user and exit
 * @ops: its map, loaded; a skeleton's attach() leaves it alone
 * @why: in the program's .bss, written by tool_ejected(); tool_wait() returns
 *	 false, and has told why, when the module has detached it
 *
 * Return: the link; bpf_link__destroy() waits for the calls that are in the
 * programs.
 */
struct bpf_link *tool_attach_ops(struct bpf_map *ops,
				 const struct tool_ejection *why);

/**
 * tool_wait() - sleep until there is something to do
 * @fd:      becomes readable, as ring_buffer__epoll_fd(); or -1
 * @wake_ns: at most until then, by tool_now_ns(); 0: no limit
 *
 * Writes out what is in stdio's buffer first.
 *
 * Return: true: @fd is readable, or the time is over; false: the tool has to
 * end: a signal, --duration, COMMAND has ended, the VM of --vm is closed, a watched
 * link is detached.
 */
bool tool_wait(int fd, __u64 wake_ns);

/**
 * tool_missed() - how often a program should have been run, but was not
 * @program: of a tracepoint
 *
 * In newer kernels such a program can be preempted, and meanwhile is not run
 * again on the same CPU.  Return: that many calls were not seen; add it to what
 * tool_end() is told.
 */
__u64 tool_missed(const struct bpf_program *program);

/**
 * tool_expect_vm() - it is an error if COMMAND ends and has opened no VM
 * @seen: the program's tool_matched, which tool_wants() and tool_wants_vm() set; it
 *	  is read in tool_end()
 */
void tool_expect_vm(const bool *seen);

/**
 * tool_printable() - make a name fit for a terminal and for JSON
 * @text:  ends at @bytes at the latest; whoever is behind it chose it
 * @bytes: size of @text
 */
void tool_printable(char *text, size_t bytes);

/**
 * tool_end() - the end of main()
 * @lost: events that the user should have seen
 *
 * Ends COMMAND, if it has not ended.  Return: main()'s.
 */
int tool_end(__u64 lost);

/* CLOCK_MONOTONIC, as bpf_ktime_get_ns(). */
__u64 tool_now_ns(void);

/* A VM is there: id, launcher's pid and name; in ascending order of ids. */
int tool_vms(struct tool_vm *vms, int max);

/* ---- Words ------------------------------------------------------------------ */

/* A line on stderr that begins with the tool's name. */
void tool_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, and exit(TOOL_FAILED); COMMAND gets SIGTERM. */
void tool_die(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));

/* tool_die() with errno in words, as "cannot ACTION the program: ...". */
void tool_failed(const char *action) __attribute__((noreturn));

/*
 * Names; a number where there is none.  Valid until the function was called
 * eight times more.
 */
const char *tool_class_name(__u32 class_id); /* "block", "0xe1"; "?": none */
const char *tool_function_name(__u32 nr); /* "read", "7" */
const char *tool_call_name(__u32 nr); /* "block.read", "0xe1.7" */
const char *tool_error_name(__s64 result); /* "EIO", "-7" */
const char *tool_door_name(__u32 door); /* "register", "queue" */

/* HCALL_CLASS_* of a name or number, or -1. */
int tool_class(const char *text);

/* A function of a class, by its name or number, or -1. */
int tool_function(__u32 class_id, const char *text);

/* HCALL_E* of "EIO", "eio" or "5", or -1. */
int tool_error(const char *text);

/* Has the class devices, with their unit as first argument? */
bool tool_class_has_units(__u32 class_id);

/* ---- JSON --------------------------------------------------------------------- */

static inline void json_number(struct json_object *to, const char *key,
			       __s64 value)
{
	json_object_object_add(to, key, json_object_new_int64(value));
}

static inline void json_unsigned(struct json_object *to, const char *key,
				 __u64 value)
{
	json_object_object_add(to, key, json_object_new_uint64(value));
}

static inline void json_text(struct json_object *to, const char *key,
			     const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

/* Print it as a line, and free it. */
void json_print(struct json_object *object);

#endif
