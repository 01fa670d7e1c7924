# SPDX-License-Identifier: GPL-2.0
# How to build BPF programs and their loaders, for bpf/ and for selftests/bpf/.

# This directory, from where make runs.
BPF := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
CFLAGS ?= -O2 -g
CLANG ?= clang
WARNINGS := -Wall -Wextra -Werror
UAPI := $(BPF)/../uapi
export PATH := $(PATH):/usr/sbin

# struct_ops of modules need libbpf 1.4 and bpftool 7.3: this machine's own, or
# those of this Debian's backports.
ifneq ($(MAKECMDGOALS),clean)
own := $(shell pkg-config --atleast-version=1.4 libbpf 2>/dev/null && \
	v=$$(bpftool version 2>/dev/null | sed -n 's/^bpftool //p') && \
	printf 'v7.3.0\n%s\n' "$${v:-none}" | sort -VC && echo yes)
ifeq ($(own),yes)
LIBBPF_CFLAGS := $(shell pkg-config --cflags libbpf)
LIBBPF := $(shell pkg-config --libs libbpf)
BPFTOOL := bpftool
else
usr := $(addsuffix /usr,$(shell $(BPF)/../selftests/kernel libbpf))
LIBBPF_CFLAGS := -I$(usr)/include
LIBBPF := $(if $(usr),$(wildcard $(usr)/lib/*/libbpf.a))
BPFTOOL := $(usr)/sbin/bpftool
endif
missing := $(if $(shell command -v $(CLANG)),,clang) $(if $(LIBBPF),,libbpf 1.4 and bpftool 7.3)
endif

# For clang -target bpf the machine's <asm/...> are nowhere; BPF_PROG() gives a
# program all arguments, wanted or not.
MULTIARCH := $(shell $(CC) -print-multiarch)
INCLUDES := -I. -I$(BPF) -I$(UAPI) $(LIBBPF_CFLAGS)
BPF_CFLAGS := -target bpf -mcpu=v3 -ffreestanding -std=gnu11 -O2 -g $(INCLUDES) \
	-I/usr/include/$(MULTIARCH) $(WARNINGS) -Wno-unused-parameter

# An included rule is not the first.
.DEFAULT_GOAL := all

# bpftool 7.5 sets a field that libbpf has from 1.5 on; see tool_attach_ops().
%.skel.h: %.bpf.o
	$(BPFTOOL) gen skeleton $< name $(notdir $*)_bpf >$@.new
	sed -i '/^\t*map->link = /d' $@.new
	mv $@.new $@

# Its debug information is for the compiler only, but for BTF.
%.bpf.o: %.bpf.c
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $*.bpf.d -c -o $@.new $<
	$(BPFTOOL) gen object $@ $@.new
	$(RM) $@.new
