// SPDX-License-Identifier: MIT
/*
 * Time.  A call costs an exit to the host kernel.  For a guest that asks often
 * there is pvclock, which costs none: KVM writes into memory of ours what its
 * clock said at some value of the CPU's time stamp counter, and how fast that
 * counter runs; RDTSC gives the rest.
 *
 * KVM writes again when something changes, as when the vCPU has moved to
 * another CPU of the host: therefore there is one pvclock for each vCPU, and a
 * version in it which is odd while KVM writes.
 *
 * NTP does not correct pvclock: it may part from the clocks of calls by some
 * milliseconds a minute.
 */
#include "clock.h"
#include "hcall_call.h"

#define KVM_CPUID_EBX	    0x4b4d564bu /* "KVMKVMKVM\0\0\0" */
#define KVM_CPUID_ECX	    0x564b4d56u
#define KVM_CPUID_EDX	    0x0000004du
#define KVM_CPUID_FEATURES  1u
#define KVM_FEATURE_PVCLOCK (1u << 3)
#define KVM_MSR_PVCLOCK	    0x4b564d01u /* MSR_KVM_SYSTEM_TIME_NEW */
#define KVM_MSR_PVCLOCK_ON  1u

/* Not across the end of a page. */
struct pvclock {
	uint32_t version;
	uint32_t reserved;
	uint64_t tsc; /* when the time was @ns */
	uint64_t ns;
	uint32_t ns_per_tick; /* a fraction of 2^32, ... */
	int8_t shift; /* ... of ticks multiplied by 2^@shift */
	uint8_t flags;
	uint8_t padding[2];
} __attribute__((aligned(32)));

static volatile struct pvclock pvclock;
static bool has_pvclock;

/* ---- The calendar ------------------------------------------------------ */

static bool is_leap(unsigned int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned int days_in_month(unsigned int year, unsigned int month)
{
	static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30,
					  31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

struct clock_date clock_utc(void)
{
	uint64_t seconds =
		(uint64_t)hcall_timer_now(HCALL_CLOCK_REALTIME) / CLOCK_SECOND;
	uint64_t days = seconds / 86400;
	struct clock_date date = {
		.year = 1970,
		.month = 1,
		.hour = (unsigned int)(seconds / 3600 % 24),
		.minute = (unsigned int)(seconds / 60 % 60),
		.second = (unsigned int)(seconds % 60),
	};

	for (; days >= 365u + is_leap(date.year); date.year++)
		days -= 365u + is_leap(date.year);
	for (; days >= days_in_month(date.year, date.month); date.month++)
		days -= days_in_month(date.year, date.month);
	date.day = (unsigned int)days + 1;
	return date;
}

/* ---- pvclock ----------------------------------------------------------- */

/* Return: KVM's features, or 0; found as hcall_features() finds hcall. */
static uint32_t kvm_features(void)
{
	uint32_t base, eax, ebx, ecx, edx;

	for (base = HCALL_CPUID_FIRST; base <= HCALL_CPUID_LAST;
	     base += HCALL_CPUID_STEP) {
		hcall_cpuid(base, &eax, &ebx, &ecx, &edx);
		if (ebx != KVM_CPUID_EBX || ecx != KVM_CPUID_ECX ||
		    edx != KVM_CPUID_EDX)
			continue;
		hcall_cpuid(base + KVM_CPUID_FEATURES, &eax, &ebx, &ecx, &edx);
		return eax;
	}
	return 0;
}

bool clock_start(void)
{
	uint64_t value = (uintptr_t)&pvclock | KVM_MSR_PVCLOCK_ON;

	has_pvclock = kvm_features() & KVM_FEATURE_PVCLOCK;
	if (!has_pvclock)
		return false;
	__asm__ __volatile__("wrmsr"
			     :
			     : "c"(KVM_MSR_PVCLOCK), "a"((uint32_t)value),
			       "d"((uint32_t)(value >> 32))
			     : "memory");
	return true;
}

/* Not before what stands above it has been read. */
static uint64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ __volatile__("lfence; rdtsc; lfence"
			     : "=a"(low), "=d"(high)
			     :
			     : "memory");
	return low | (uint64_t)high << 32;
}

uint64_t clock_now(void)
{
	uint64_t ticks, ns;
	uint32_t version;

	if (!has_pvclock)
		return (uint64_t)hcall_timer_now(HCALL_CLOCK_MONOTONIC);
	do {
		version = pvclock.version;
		ticks = read_tsc() - pvclock.tsc;
		if (pvclock.shift >= 0)
			ticks <<= pvclock.shift;
		else
			ticks >>= -pvclock.shift;
		ns = pvclock.ns + (uint64_t)((unsigned __int128)ticks *
						     pvclock.ns_per_tick >>
					     32);
	} while (version & 1 || version != pvclock.version);
	return ns;
}
