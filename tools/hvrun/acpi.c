// SPDX-License-Identifier: GPL-2.0
/*
 * The ACPI tables that tell a guest its CPUs and interrupt controllers: RSDP,
 * XSDT, MADT, one after the other from 0xe0000 on (ACPI 6.4, 5.2).
 */
#include <string.h>

#include "hvrun.h"

#define LAPIC_ADDRESS	 0xfee00000u
#define IOAPIC_ADDRESS	 0xfec00000u
#define MADT_PCAT_COMPAT 1u /* there are two 8259 to be masked */
#define MADT_LAPIC	 0
#define MADT_IOAPIC	 1
#define MADT_X2APIC	 9
#define CPU_ENABLED	 1u
#define XAPIC_LAST_ID	 254

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

struct table {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct xsdt {
	struct table header;
	uint64_t madt;
} __attribute__((packed));

struct madt {
	struct table header;
	uint32_t lapic_address;
	uint32_t flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length;
	uint8_t processor, id;
	uint32_t flags;
} __attribute__((packed));

struct madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t id, flags, processor;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length;
	uint8_t id, reserved;
	uint32_t address, first_gsi;
} __attribute__((packed));

static uint8_t checksum(const void *data, size_t bytes)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (bytes--)
		sum += *p++;
	return -sum;
}

static void finish(struct table *t, const char *signature, uint8_t revision,
		   uint32_t length)
{
	memcpy(t->signature, signature, sizeof(t->signature));
	t->length = length;
	t->revision = revision;
	memcpy(t->oem_id, "HCALL ", sizeof(t->oem_id));
	memcpy(t->oem_table_id, "HVRUN   ", sizeof(t->oem_table_id));
	memcpy(t->creator_id, "HVRN", sizeof(t->creator_id));
	t->checksum = checksum(t, length);
}

static uint32_t put_madt(struct madt *madt, unsigned int cpus)
{
	uint8_t *at = (uint8_t *)(madt + 1);

	madt->lapic_address = LAPIC_ADDRESS;
	madt->flags = MADT_PCAT_COMPAT;
	for (unsigned int id = 0; id < cpus; id++) {
		if (id <= XAPIC_LAST_ID) {
			struct madt_lapic e = { MADT_LAPIC, sizeof(e), id, id,
						CPU_ENABLED };

			memcpy(at, &e, sizeof(e));
			at += sizeof(e);
		} else {
			struct madt_x2apic e = { MADT_X2APIC, sizeof(e),   0,
						 id,	      CPU_ENABLED, id };

			memcpy(at, &e, sizeof(e));
			at += sizeof(e);
		}
	}
	memcpy(at,
	       &(struct madt_ioapic){ MADT_IOAPIC, sizeof(struct madt_ioapic),
				      0, 0, IOAPIC_ADDRESS, 0 },
	       sizeof(struct madt_ioapic));
	at += sizeof(struct madt_ioapic);
	return at - (uint8_t *)madt;
}

uint64_t acpi_create(struct ram *ram, unsigned int cpus)
{
	const uint64_t xsdt_gpa = RAM_BIOS_START + 64;
	const uint64_t madt_gpa = xsdt_gpa + 64;
	struct rsdp *rsdp = ram_at(ram, RAM_BIOS_START, sizeof(*rsdp));
	struct xsdt *xsdt = ram_at(ram, xsdt_gpa, sizeof(*xsdt));
	struct madt *madt = ram_at(ram, madt_gpa, RAM_1M - madt_gpa);

	finish(&madt->header, "APIC", 4, put_madt(madt, cpus));
	xsdt->madt = madt_gpa;
	finish(&xsdt->header, "XSDT", 1, sizeof(*xsdt));
	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "HCALL ", sizeof(rsdp->oem_id));
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = xsdt_gpa;
	rsdp->checksum = checksum(rsdp, 20);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	return RAM_BIOS_START;
}
