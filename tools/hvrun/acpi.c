// SPDX-License-Identifier: GPL-2.0
/*
 * The ACPI tables, one after the other from 0xe0000 on (ACPI 6.4, 5.2).  MADT:
 * the CPUs and interrupt controllers.  FADT: what a PC has and this machine has
 * not, so that no guest waits for it, and the ports by which a guest that knows
 * no calls turns the machine off.  DSDT: nothing but the value for that.
 */
#include <stddef.h>
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

#define FADT_REVISION	 6
#define FADT_MINOR	 4
#define FADT_WBINVD	 (1u << 0)
#define FADT_NO_BUTTONS	 (3u << 4) /* power and sleep */
#define FADT_RESET	 (1u << 10) /* there is a reset register */
#define FADT_REDUCED	 (1u << 20) /* no hardware of the ACPI of old */
#define BOOT_NO_VGA	 (1u << 2)
#define BOOT_NO_RTC	 (1u << 5)
#define SPACE_IO	 1
#define ACCESS_BYTE	 1

/* Where a PC begins, in real mode: writes to the reset register. */
#define RESET_VECTOR	 0xffff0
static const uint8_t reset_vector[] = {
	0xba,
	ACPI_PORT_RESET & 0xff,
	ACPI_PORT_RESET >> 8, /* mov dx */
	0xb0,
	ACPI_RESET_VALUE, /* mov al */
	0xee, /* out dx, al */
	0xf4,
	0xeb,
	0xfd, /* hlt, and again */
};

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
	uint64_t tables[2];
} __attribute__((packed));

struct address {
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

/* What is not named is hardware that is not there. */
struct fadt {
	struct table header;
	uint32_t facs, dsdt;
	uint8_t reserved1[65];
	uint16_t boot_flags;
	uint8_t reserved2;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_flags;
	uint8_t minor_version;
	uint64_t x_facs, x_dsdt;
	struct address reserved3[8], sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));

_Static_assert(offsetof(struct fadt, boot_flags) == 109, "FADT");
_Static_assert(sizeof(struct fadt) == 276, "FADT");

/* In AML: Name (_S5, Package { 5, 0 }); the 5 is in ACPI_SLEEP_OFF. */
static const uint8_t aml[] = {
	0x08, '_', 'S', '5', '_', 0x12, 0x05, 0x02, 0x0a, 0x05, 0x00,
};

struct dsdt {
	struct table header;
	uint8_t aml[sizeof(aml)];
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

static struct address port(uint16_t number)
{
	return (struct address){ SPACE_IO, 8, 0, ACCESS_BYTE, number };
}

static void put_fadt(struct fadt *fadt, uint64_t dsdt_gpa)
{
	fadt->dsdt = dsdt_gpa;
	fadt->x_dsdt = dsdt_gpa;
	fadt->flags = FADT_WBINVD | FADT_NO_BUTTONS | FADT_RESET | FADT_REDUCED;
	fadt->boot_flags = BOOT_NO_VGA | BOOT_NO_RTC;
	fadt->minor_version = FADT_MINOR;
	fadt->reset = port(ACPI_PORT_RESET);
	fadt->reset_value = ACPI_RESET_VALUE;
	fadt->sleep_control = port(ACPI_PORT_SLEEP_CONTROL);
	fadt->sleep_status = port(ACPI_PORT_SLEEP_STATUS);
	finish(&fadt->header, "FACP", FADT_REVISION, sizeof(*fadt));
}

uint64_t acpi_create(struct ram *ram, unsigned int cpus)
{
	const uint64_t xsdt_gpa = RAM_BIOS_START + 64;
	const uint64_t dsdt_gpa = xsdt_gpa + 64;
	const uint64_t fadt_gpa = dsdt_gpa + 64;
	const uint64_t madt_gpa = fadt_gpa + 320;
	struct rsdp *rsdp = ram_at(ram, RAM_BIOS_START, sizeof(*rsdp));
	struct xsdt *xsdt = ram_at(ram, xsdt_gpa, sizeof(*xsdt));
	struct dsdt *dsdt = ram_at(ram, dsdt_gpa, sizeof(*dsdt));
	struct madt *madt = ram_at(ram, madt_gpa, RAM_1M - madt_gpa);

	finish(&madt->header, "APIC", 4, put_madt(madt, cpus));
	memcpy(dsdt->aml, aml, sizeof(aml));
	finish(&dsdt->header, "DSDT", 2, sizeof(*dsdt));
	put_fadt(ram_at(ram, fadt_gpa, sizeof(struct fadt)), dsdt_gpa);
	xsdt->tables[0] = fadt_gpa;
	xsdt->tables[1] = madt_gpa;
	finish(&xsdt->header, "XSDT", 1, sizeof(*xsdt));
	/* Linux may go where a BIOS begins, to reset the machine. */
	memcpy(ram_at(ram, RESET_VECTOR, sizeof(reset_vector)), reset_vector,
	       sizeof(reset_vector));

	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "HCALL ", sizeof(rsdp->oem_id));
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = xsdt_gpa;
	rsdp->checksum = checksum(rsdp, 20);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	return RAM_BIOS_START;
}
