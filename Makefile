# SPDX-License-Identifier: GPL-2.0
# What people type; 'make help' lists it.  Kbuild is the kernel's part.

# The kernel that 'make modules' builds for: this machine's own if its headers
# are installed, else the test host's.
KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build

# The kernel of the test host, and all kernels that 'make test' runs on.
# HOST=kasan or kcsan is both, for a kernel that looks for errors.
KERNEL ?= $(or $(HOST),6.12)
KERNELS ?= $(or $(HOST),6.12 7.2)

PREFIX ?= /usr/local
BUILD := build
export KERNEL

# Kbuild writes beside its sources: give it a tree of links for each kernel.
define link_sources
	@mkdir -p $(1)
	@cp -rsfT $(CURDIR)/kmod $(1)/kmod
	@ln -sfn $(CURDIR)/uapi $(1)/uapi
	@ln -sfn $(CURDIR)/Kbuild $(1)/Kbuild
endef

all: modules tools bpf samples

help:
	@echo 'make            modules, tools, eBPF tools and samples'
	@echo 'make demo       set up, build, and run a guest on a real disk image'
	@echo 'make test       set up, build, and run every test on Linux $(KERNELS)'
	@echo 'make unit       unit tests and fuzzers, without a test host'
	@echo 'make prove      all proofs of address and ring arithmetic: minutes'
	@echo 'make bench      count the host instructions of each call'
	@echo 'make bench-guests  ... and of stock Linux guests, beside QEMU and vhost-net'
	@echo 'make check      lint: compiler, sparse, checkpatch, clang-format, shellcheck'
	@echo 'make host       a shell in the test host, with everything built'
	@echo 'make modules    kvm_hcall.ko for this machine (KVER=, KDIR=)'
	@echo 'make guest-module  virtio_hcall.ko for Linux guests with this kernel (KVER=, KDIR=)'
	@echo 'make tools      tools/hvrun/hvrun'
	@echo 'make bpf        bpf/hcallsnoop, hcalllat and the other eBPF tools'
	@echo 'make samples    samples/hello, shell and the other guests to copy from'
	@echo 'make install    module, tools, headers, man pages (PREFIX=, DESTDIR=)'
	@echo 'make clean'
	@echo
	@echo 'KERNEL=6.12|7.2 is the kernel of the test host, KERNELS= those of make test;'
	@echo 'HOST=kasan|kcsan is both: a kernel that looks for errors, see Documentation/testing.rst.'

ifneq ($(wildcard $(KDIR)/Makefile),)
modules:
	$(call link_sources,$(BUILD)/$(KVER))
	$(MAKE) -C $(KDIR) M=$(CURDIR)/$(BUILD)/$(KVER) modules
	@ln -sfn $(BUILD)/$(KVER)/kvm_hcall.ko kvm_hcall.ko
else
modules: module-$(KERNEL)
	@ln -sfn $(BUILD)/$(KERNEL)/kvm_hcall.ko kvm_hcall.ko
	@echo 'no kernel headers in $(KDIR): kvm_hcall.ko is for the test host (Linux $(KERNEL))'
endif

# For a kernel of the test host, whose headers come from its package.
module-%:
	@selftests/setup build host
	$(call link_sources,$(BUILD)/$*)
	selftests/kernel make $* M=$(CURDIR)/$(BUILD)/$* HCALL_CFLAGS=-Werror W=1 modules

# The guest's module, for a guest with this machine's kernel, or KVER= or KDIR=.
guest-module:
	@mkdir -p $(BUILD)/$(KVER)
	@cp -rsfT $(CURDIR)/kmod/guest $(BUILD)/$(KVER)/guest
	@ln -sfn $(CURDIR)/uapi $(BUILD)/$(KVER)/uapi
	$(MAKE) -C $(KDIR) M=$(CURDIR)/$(BUILD)/$(KVER)/guest modules
	@ln -sfn $(BUILD)/$(KVER)/guest/virtio_hcall.ko virtio_hcall.ko

guest-module-%:
	@selftests/setup build host
	$(call link_sources,$(BUILD)/$*)
	@cp -rsfT $(CURDIR)/kmod/guest $(BUILD)/$*/guest
	selftests/kernel make $* M=$(CURDIR)/$(BUILD)/$*/guest HCALL_CFLAGS=-Werror W=1 modules

tools:
	$(MAKE) -C tools/hvrun

bpf:
	$(MAKE) -C bpf

samples:
	$(MAKE) -C samples

selftests:
	$(MAKE) -C selftests

# Everything that runs inside a test host of one kernel.
host-files-%: module-% guest-module-% tools bpf samples selftests
	@mkdir -p $(BUILD)/$*/tests
	@cp -rsfT $(CURDIR)/selftests/module $(BUILD)/$*/tests
	selftests/kernel make $* M=$(CURDIR)/$(BUILD)/$*/tests modules
	@cp -rsfT $(CURDIR)/selftests/hvrun/guest-linux $(BUILD)/$*/guest-linux
	selftests/kernel make $* M=$(CURDIR)/$(BUILD)/$*/guest-linux modules
	@ln -sf tests/in_the_way.ko tests/in_the_way_livepatch.ko $(BUILD)/$*

demo:
	@selftests/demo

test:
	@selftests/run-all $(KERNELS)

unit:
	@selftests/unit/run

prove:
	@selftests/setup unit
	@$(MAKE) --no-print-directory -C selftests/unit prove.ll
	@selftests/unit/prove selftests/unit/prove.ll

bench:
	@selftests/bench/run

bench-guests:
	@selftests/bench/run --guests

check:
	@selftests/check

host:
	@selftests/setup build host
	@$(MAKE) --no-print-directory host-files-$(KERNEL)
	@selftests/host -i -k $(KERNEL)

# The eBPF tools that could be built.
BPF_TOOLS = $(patsubst %.bpf.c,%,$(wildcard bpf/hcall*.bpf.c))

install: tools bpf
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/linux \
		$(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)/lib/udev/rules.d
	install -m 755 tools/hvrun/hvrun $(wildcard $(BPF_TOOLS)) $(DESTDIR)$(PREFIX)/bin
	install -m 644 uapi/hcall.h uapi/hcall_call.h bpf/hcall.bpf.h \
		$(DESTDIR)$(PREFIX)/include
	install -m 644 uapi/linux/kvm_hcall.h uapi/linux/kvm_hcall_bpf.h \
		$(DESTDIR)$(PREFIX)/include/linux
	install -m 644 Documentation/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 tools/60-kvm-hcall.rules $(DESTDIR)/lib/udev/rules.d
ifneq ($(wildcard $(KDIR)/Makefile),)
install: install-modules
install-modules: modules
	$(MAKE) -C $(KDIR) M=$(CURDIR)/$(BUILD)/$(KVER) INSTALL_MOD_PATH=$(DESTDIR) modules_install
.PHONY: install-modules
endif

clean:
	rm -rf $(BUILD) kvm_hcall.ko virtio_hcall.ko
	$(MAKE) -C tools/hvrun clean
	$(MAKE) -C bpf clean
	$(MAKE) -C samples clean
	$(MAKE) -C selftests clean

.PHONY: all help modules guest-module tools bpf samples selftests demo test unit prove bench bench-guests check host install clean
