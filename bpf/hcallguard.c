// SPDX-License-Identifier: GPL-2.0
/*
 * hcallguard: puts a policy from a file into the kernel, and tells what it denied.
 *
 * The file has a rule a line, see hcallguard(1); what becomes of them is in
 * hcallguard.bpf.c.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/kvm_hcall.h>

#include "tool.h"

#include "hcallguard.h"
#include "hcallguard.skel.h"

#define MAX_WORDS    32
#define MAX_MISTAKES 20
#define EXPECTED     "expected 'allow', 'deny' or 'rate'"

/* A line of the policy. */
struct line {
	unsigned int number;
	char *text;
};

static const char *path;
static const char *pin;
static bool only_check;
static bool each;

static struct guard_rule rules[GUARD_MAX_RULES];
static struct line rule_lines[GUARD_MAX_RULES];
static unsigned int nr_rules;
static struct guard_rate rates[GUARD_MAX_RATES];
static struct line rate_lines[GUARD_MAX_RATES];
static unsigned int nr_rates;
static __u64 classes[4]; /* that the policy has a say in */

/* ---- The policy's words ------------------------------------------------------- */

static unsigned int line_number, mistakes;

/* Return: false, for the caller to return. */
static bool wrong(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

static bool wrong(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tool_say("%s:%u: %s", path, line_number, text);
	if (++mistakes == MAX_MISTAKES)
		tool_die("%s: too many mistakes to go on", path);
	return false;
}

/* With K, M or G behind it if @units. */
static bool parse_amount(const char *word, const char *text, bool units,
			 __u64 max, __u64 *number)
{
	static const char letters[] = "KMG";
	const char *end, *letter;

	if (!text)
		return wrong("a number has to follow '%s'", word);
	if (!tool_digits(text, &end, number))
		return wrong("'%s' after '%s' is no number", text, word);
	letter = units && *end ? strchr(letters, *end) : NULL;
	if (letter) {
		for (int i = 0; i <= letter - letters; i++)
			*number = *number > max ? *number : *number * 1024;
		end++;
	}
	if (*end)
		return wrong("'%s' after '%s' is no number%s", text, word,
			     units ? " (1500, 64K, 10M, 1G)" : "");
	if (*number > max)
		return wrong("'%s' after '%s' is more than %llu", text, word,
			     max);
	return true;
}

/* "block", "block.read", "0xe1.7", "all" */
static bool parse_what(char *what, struct guard_match *match)
{
	char *dot = strchr(what, '.');
	int class_id, function;

	match->class_id = match->function = GUARD_ALL;
	if (!strcmp(what, "all"))
		return true;
	if (dot)
		*dot = 0;
	class_id = tool_class(what);
	if (class_id < 0)
		return wrong("'%s' is no class; there are sys, console, block, "
			     "timer, input, net, event, virtio, 0 to 255, and "
			     "all",
			     what);
	match->class_id = class_id;
	if (!dot)
		return true;
	function = tool_function(class_id, dot + 1);
	if (function < 0)
		return wrong("class %s has no function '%s'; a number from 0 "
			     "to 255 does as well",
			     what, dot + 1);
	match->function = function;
	return true;
}

static bool parse_unit(const char *text, struct guard_match *match)
{
	if (!parse_amount("unit", text, false, KVM_HCALL_MAX_UNITS - 1,
			  &match->unit))
		return false;
	if (match->class_id == GUARD_ALL ||
	    !tool_class_has_units(match->class_id))
		return wrong("only calls of console, block, input and net are "
			     "for a unit");
	match->has_unit = 1;
	return true;
}

/* "100-199", "100-" or "100" */
static bool parse_sectors(const char *text, struct guard_match *match)
{
	const char *end;

	if (match->class_id != HCALL_CLASS_BLOCK ||
	    match->function == HCALL_NR_FUNCTION(HCALL_BLOCK_FLUSH))
		return wrong("only calls of block have sectors, and flush has "
			     "none");
	if (!text || !tool_digits(text, &end, &match->first))
		return wrong(
			"'sectors' wants a range as 0-2047, or 2048- up to "
			"the end");
	match->last = match->first;
	if (!strcmp(end, "-"))
		match->last = ~0ull;
	else if (*end == '-' && !tool_digits(end + 1, &end, &match->last))
		end = text;
	if (*end && strcmp(end, "-"))
		return wrong("'%s' is no range of sectors; one is 0-2047, or "
			     "2048- up to the end",
			     text);
	if (match->last < match->first)
		return wrong("the sectors '%s' end before they begin", text);
	match->has_sectors = 1;
	return true;
}

static bool parse_error(const char *text, __s32 *error)
{
	int number = text ? tool_error(text) : -1;

	if (number < 0)
		return wrong(
			"'%s' after 'error' is none of the ABI's, as EPERM "
			"or EIO",
			text ? text : "");
	*error = -number;
	return true;
}

static bool parse_per_second(const char *word, const char *text,
			     struct guard_rate *rate)
{
	rate->bytes = !strcmp(word, "bytes");
	if (rate->per_second)
		return wrong("a rate is of calls or of bytes; use two lines");
	if (!parse_amount(word, text, rate->bytes, GUARD_MAX_RATE,
			  &rate->per_second))
		return false;
	return rate->per_second ? true : wrong("a rate of 0 is a 'deny'");
}

/* What may stand behind the calls; each is a word and its value. */
static bool parse_options(char **words, bool is_rate, bool may_fail,
			  struct guard_rate *rate)
{
	bool has_error = false, has_burst = false;

	for (; *words; words += 2) {
		struct guard_match *match = &rate->match;
		const char *word = *words, *value = words[1];
		bool good;

		if (!strcmp(word, "unit") && !match->has_unit) {
			good = parse_unit(value, match);
		} else if (!strcmp(word, "sectors") && !match->has_sectors) {
			good = parse_sectors(value, match);
		} else if (!strcmp(word, "error") && may_fail && !has_error) {
			has_error = true;
			good = parse_error(value, &rate->error);
		} else if (is_rate &&
			   (!strcmp(word, "calls") || !strcmp(word, "bytes"))) {
			good = parse_per_second(word, value, rate);
		} else if (!strcmp(word, "burst") && is_rate && !has_burst) {
			has_burst = true;
			good = parse_amount(word, value, true, GUARD_MAX_BURST,
					    &rate->burst);
			if (good && !rate->burst)
				good = wrong("a burst of 0 lets nothing pass");
		} else {
			good = wrong("'%s' makes no sense here, or not twice",
				     word);
		}
		if (!good)
			return false;
	}
	return true;
}

static void add_class(__u32 class_id)
{
	if (class_id == GUARD_ALL)
		memset(classes, 0xff, sizeof(classes));
	else
		classes[class_id / 64] |= 1ull << class_id % 64;
}

static bool add_rate(struct guard_rate *rate, struct line *line)
{
	if (!rate->per_second)
		return wrong(
			"a rate has to say 'calls N' or 'bytes N' for each "
			"second");
	if (nr_rates == GUARD_MAX_RATES)
		return wrong("there can be %d rates, and this is one more",
			     GUARD_MAX_RATES);
	if (!rate->burst)
		rate->burst = (rate->per_second + 3) / 4;
	if (rate->burst > GUARD_MAX_BURST)
		rate->burst = GUARD_MAX_BURST;
	rate->max_ns = GUARD_LIMIT / rate->per_second;
	add_class(rate->match.class_id);
	rate_lines[nr_rates] = *line;
	rates[nr_rates++] = *rate;
	return true;
}

static bool parse_words(char **words, struct line *line)
{
	bool is_rate = !strcmp(words[0], "rate");
	bool allows = !strcmp(words[0], "allow");
	struct guard_rate rate = {
		.error = allows	   ? 0
			 : is_rate ? -HCALL_EAGAIN
				   : -HCALL_EPERM,
	};

	if (!is_rate && !allows && strcmp(words[0], "deny"))
		return wrong("'%s' is no action; " EXPECTED, words[0]);
	if (!words[1])
		return wrong("which calls? 'block', 'block.read' or 'all', for "
			     "example, has to follow '%s'",
			     words[0]);
	if (!parse_what(words[1], &rate.match) ||
	    !parse_options(words + 2, is_rate, !allows, &rate))
		return false;
	if (is_rate)
		return add_rate(&rate, line);
	if (nr_rules == GUARD_MAX_RULES)
		return wrong("there can be %d lines with allow and deny, and "
			     "this is one more",
			     GUARD_MAX_RULES);
	if (!allows)
		add_class(rate.match.class_id);
	rule_lines[nr_rules] = *line;
	rules[nr_rules].match = rate.match;
	rules[nr_rules++].error = rate.error;
	return true;
}

/* Cuts the line into words. */
static bool parse_line(char *text)
{
	char *words[MAX_WORDS + 1], *at = NULL;
	struct line line = { .number = line_number };
	int n = 0;

	text[strcspn(text, "#\r\n")] = 0;
	text += strspn(text, " \t");
	line.text = strdup(text);
	if (!line.text)
		tool_die("not enough memory");
	for (char *end = line.text + strlen(text);
	     end > line.text && isblank((unsigned char)end[-1]);)
		*--end = 0;
	for (char *word = strtok_r(text, " \t", &at); word;
	     word = strtok_r(NULL, " \t", &at)) {
		if (n == MAX_WORDS)
			return wrong("too many words");
		words[n++] = word;
	}
	words[n] = NULL;
	if (!n) {
		free(line.text);
		return true;
	}
	return parse_words(words, &line);
}

/* If it has mistakes, they are told, and then the tool ends. */
static void read_policy(void)
{
	FILE *file = fopen(path, "re");
	size_t room = 0;
	char *text = NULL;
	ssize_t bytes;

	if (!file)
		tool_die("cannot open '%s': %s", path, strerror(errno));
	while ((bytes = getline(&text, &room, file)) >= 0) {
		line_number++;
		if ((size_t)bytes != strlen(text))
			wrong("this is no text");
		else
			parse_line(text);
	}
	if (ferror(file))
		tool_die("cannot read '%s': %s", path, strerror(errno));
	fclose(file);
	free(text);
	if (mistakes)
		exit(TOOL_FAILED);
	if (!(classes[0] | classes[1] | classes[2] | classes[3]))
		tool_die("%s: nothing is denied or limited here; " EXPECTED
			 " and what to do so to",
			 path);
}

/* ---- Options -------------------------------------------------------------- */

static const struct argp_option guard_options[] = {
	{ "check", 'C', NULL, 0,
	  "Only check the policy; needs no rights and no module", 0 },
	{ "each", 'e', NULL, 0, "Tell of each call that is denied", 0 },
	{ "pin", 'p', "PATH", 0,
	  "Keep the policy when hcallguard ends, until the file PATH in "
	  "/sys/fs/bpf, which is made, is removed",
	  0 },
	{ 0 },
};

static error_t parse_guard_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'C':
		only_check = true;
		return 0;
	case 'e':
		each = true;
		return 0;
	case 'p':
		pin = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (path)
			return ARGP_ERR_UNKNOWN; /* COMMAND */
		path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!path)
			argp_error(state, "a file with the policy is missing");
		read_policy();
		if (!only_check)
			return 0;
		printf("%s: %u of allow and deny, %u of rate\n", path, nr_rules,
		       nr_rates);
		exit(0);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child guard_children[] = {
	{ &tool_vm_argp, 0, "What to look at:", 10 },
	{ &tool_argp, 0, "All tools:", 20 },
	{ 0 },
};

static const struct argp guard_argp = {
	.options = guard_options,
	.parser = parse_guard_option,
	.args_doc = "FILE [[--] COMMAND [ARG...]]",
	.doc = "Deny calls, or limit how many a VM makes and how much it moves, "
	       "by the policy in FILE.\v"
	       "A line of FILE is one of:\n"
	       "  deny CALLS [unit N] [sectors FIRST-LAST] [error NAME]\n"
	       "  allow CALLS [unit N] [sectors FIRST-LAST]\n"
	       "  rate CALLS [unit N] calls|bytes N [burst N] [error NAME]\n"
	       "CALLS is a class (block), a function (block.write) or all; N is "
	       "for each second and VM.  # begins a comment.  The first allow or "
	       "deny that matches decides; all rates that match count.  See "
	       "hcallguard(1).\n\n"
	       "With COMMAND: for the VMs that it and the programs it starts "
	       "open, until it ends.",
	.children = guard_children,
};

/* ---- Telling -------------------------------------------------------------- */

static const struct line *line_of(__u32 rule)
{
	return rule < GUARD_MAX_RULES ? &rule_lines[rule]
				      : &rate_lines[rule - GUARD_MAX_RULES];
}

/* Where it is in the file, or why else. */
static const char *reason(__u32 rule)
{
	static char text[4096];

	if (rule >= GUARD_NO_ROOM)
		return "too many VMs";
	snprintf(text, sizeof(text), "%s:%u", path, line_of(rule)->number);
	return text;
}

static void tell_json(const struct guard_event *event)
{
	struct json_object *line = json_object_new_object();
	struct json_object *args = json_object_new_array();

	json_unsigned(line, "vm", event->vm);
	json_text(line, "class", tool_class_name(HCALL_NR_CLASS(event->nr)));
	json_text(line, "function", tool_function_name(event->nr));
	json_text(line, "door", tool_door_name(event->door));
	for (int i = 0; i < 4; i++)
		json_object_array_add(args,
				      json_object_new_uint64(event->args[i]));
	json_object_object_add(line, "args", args);
	json_text(line, "error", tool_error_name(event->error));
	if (event->rule < GUARD_NO_ROOM)
		json_unsigned(line, "line", line_of(event->rule)->number);
	json_print(line);
}

static int tell_event(void *context, void *data, size_t bytes)
{
	const struct guard_event *event = data;

	(void)context;
	(void)bytes;
	if (tool.json) {
		tell_json(event);
		return 0;
	}
	printf("vm %u: %s(%#llx, %#llx, %#llx, %#llx) by %s: %s, %s\n",
	       event->vm, tool_call_name(event->nr), event->args[0],
	       event->args[1], event->args[2], event->args[3],
	       tool_door_name(event->door), tool_error_name(event->error),
	       reason(event->rule));
	return 0;
}

static void tell_denied(__u32 rule, __u64 denied)
{
	const char *text = rule < GUARD_NO_ROOM ? line_of(rule)->text : "";
	struct json_object *line;

	if (!tool.json) {
		printf("%s: %llu denied%s%s\n", reason(rule), denied,
		       *text ? ": " : "", text);
		return;
	}
	line = json_object_new_object();
	json_text(line, "file", path);
	if (rule < GUARD_NO_ROOM) {
		json_unsigned(line, "line", line_of(rule)->number);
		json_text(line, "rule", text);
	} else {
		json_text(line, "rule", reason(rule));
	}
	json_unsigned(line, "denied", denied);
	json_print(line);
}

/* What each line has denied, in their order in the kernel. */
static void tell_all_denied(const __u64 *denied)
{
	for (unsigned int i = 0; i < nr_rules; i++)
		if (rules[i].error)
			tell_denied(i, denied[i]);
	for (unsigned int i = 0; i < nr_rates; i++)
		tell_denied(GUARD_MAX_RULES + i, denied[GUARD_MAX_RULES + i]);
	if (denied[GUARD_NO_ROOM])
		tell_denied(GUARD_NO_ROOM, denied[GUARD_NO_ROOM]);
}

/* ---- Running ------------------------------------------------------------------ */

static void pin_link(struct bpf_link *link)
{
	int error = -bpf_link__pin(link, pin);

	if (error == EEXIST)
		tool_die(
			"'%s' is there already; while it is, its policy counts",
			pin);
	if (error == EINVAL)
		tool_die("'%s' is in no BPF file system; /sys/fs/bpf is one",
			 pin);
	if (error)
		tool_die("cannot make '%s': %s", pin, strerror(error));
}

int main(int argc, char **argv)
{
	struct ring_buffer *ring = NULL;
	struct hcallguard_bpf *skel;
	struct bpf_link *link;

	tool_parse(&guard_argp, argc, argv);
	if (pin && tool.command)
		tool_die("--pin is for VMs that come later, and with COMMAND "
			 "there are none; leave one of them out");
	skel = hcallguard_bpf__open();
	if (!skel)
		tool_failed("open");
	skel->rodata->filter = tool_filter();
	skel->rodata->tell = each;
	skel->rodata->rule_count = nr_rules;
	memcpy(skel->rodata->rules, rules, sizeof(rules));
	skel->rodata->rate_count = nr_rates;
	memcpy(skel->rodata->rates, rates, sizeof(rates));
	skel->struct_ops.guard->vm = tool.vm;
	skel->struct_ops.guard->classes = tool_class_mask(classes);
	if (hcallguard_bpf__load(skel))
		tool_failed("load");
	if (each) {
		ring = ring_buffer__new(bpf_map__fd(skel->maps.events),
					tell_event, NULL, NULL);
		if (!ring)
			tool_failed("read the events of");
	}
	link = tool_attach_ops(skel->maps.guard, &skel->bss->ejection);
	if (pin)
		pin_link(link);
	tool_expect_vm(&skel->bss->tool_matched);
	tool_release();

	while (tool_wait(ring ? ring_buffer__epoll_fd(ring) : -1, 0))
		ring_buffer__consume(ring);

	/* One that is pinned stays. */
	bpf_link__destroy(link);
	if (ring)
		ring_buffer__consume(ring);
	tell_all_denied(skel->bss->denied);
	if (pin && skel->bss->ejection.reason == HCALL_EJECTED_VM_CLOSED)
		unlink(pin); /* nothing is attached any more */
	else if (pin)
		tool_say("the policy stays until '%s' is removed", pin);
	return tool_end(skel->bss->lost);
}
