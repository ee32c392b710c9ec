//! Does an ELF file reach as far as its own headers say? (System V ABI, chapter 4 and 5.)
//!
//! Every segment and section must lie within the file. All arithmetic on numbers of the file is checked.

use std::io::{Read, Seek, SeekFrom};

/// ET_DYN: a shared object.
const SHARED_OBJECT: u64 = 3;
/// SHT_NOBITS: a section that takes no bytes in the file.
const NO_BITS: u64 = 8;

/// Where a header field stands: offset and size in bytes.
type Field = (usize, usize);

/// Places of the fields we read, which differ between 32- and 64-bit files.
struct Layout {
    header: usize,
    program_offset: Field,
    section_offset: Field,
    /// e_phentsize, e_phnum, e_shentsize, e_shnum.
    counts: [Field; 4],
    segment: Entry,
    section: Entry,
}

/// Places of the fields of one table entry.
struct Entry {
    size: usize,
    offset: Field,
    length: Field,
    kind: Field,
}

const ELF64: Layout = Layout {
    header: 64,
    program_offset: (32, 8),
    section_offset: (40, 8),
    counts: [(54, 2), (56, 2), (58, 2), (60, 2)],
    segment: Entry { size: 56, offset: (8, 8), length: (32, 8), kind: (0, 4) },
    section: Entry { size: 64, offset: (24, 8), length: (32, 8), kind: (4, 4) },
};

const ELF32: Layout = Layout {
    header: 52,
    program_offset: (28, 4),
    section_offset: (32, 4),
    counts: [(42, 2), (44, 2), (46, 2), (48, 2)],
    segment: Entry { size: 32, offset: (4, 4), length: (16, 4), kind: (0, 4) },
    section: Entry { size: 40, offset: (16, 4), length: (20, 4), kind: (4, 4) },
};

/// Reads unsigned fields in the byte order of the file.
#[derive(Clone, Copy)]
struct Reader {
    little_endian: bool,
}

impl Reader {
    /// The field of `bytes` at `field`; 0 where `bytes` is too short, which no caller passes.
    fn get(self, bytes: &[u8], (offset, size): Field) -> u64 {
        let raw = bytes.get(offset..offset + size).unwrap_or_default();
        let fold = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        if self.little_endian { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) }
    }
}

/// Checks that a file which starts with the ELF magic is a shared object of which no part lies beyond `len`.
pub(super) fn check(file: &mut (impl Read + Seek), len: u64) -> Result<(), String> {
    let mut ident = [0u8; 16];
    read_at(file, 0, &mut ident)?;
    let layout = match ident[4] {
        1 => &ELF32,
        2 => &ELF64,
        class => return Err(format!("ELF of unknown class {class}")),
    };
    let reader = Reader { little_endian: ident[5] == 1 };
    let mut header = vec![0u8; layout.header];
    read_at(file, 0, &mut header)?;
    if reader.get(&header, (16, 2)) != SHARED_OBJECT {
        return Err("an ELF file, but not a shared library".to_owned());
    }
    let [segment_size, segments, section_size, sections] =
        layout.counts.map(|field| reader.get(&header, field));
    let program_offset = reader.get(&header, layout.program_offset);
    let section_offset = reader.get(&header, layout.section_offset);
    check_table(file, len, reader, &layout.segment, (program_offset, segment_size, segments), "segment")?;
    check_table(file, len, reader, &layout.section, (section_offset, section_size, sections), "section")
}

/// Checks one table of (offset, bytes an entry, entries), and that what each entry describes lies within the file.
fn check_table(
    file: &mut (impl Read + Seek),
    len: u64,
    reader: Reader,
    entry: &Entry,
    (offset, size, count): (u64, u64, u64),
    what: &str,
) -> Result<(), String> {
    let truncated =
        |part: String| format!("truncated: the file has {len} bytes, and its {part} lies beyond them");
    if count == 0 {
        return Ok(());
    }
    if size != entry.size as u64 {
        return Err(format!("an ELF file with {what} headers of {size} bytes"));
    }
    if !lies_within(offset, size.checked_mul(count), len) {
        return Err(truncated(format!("table of {what}s")));
    }
    let mut bytes = vec![0u8; entry.size];
    for index in 0..count {
        // Within the file, as just checked, so neither the product nor the sum overflows.
        read_at(file, offset + index * size, &mut bytes)?;
        let start = reader.get(&bytes, entry.offset);
        let length = reader.get(&bytes, entry.length);
        let in_file = what == "segment" || reader.get(&bytes, entry.kind) != NO_BITS;
        if in_file && length > 0 && !lies_within(start, Some(length), len) {
            return Err(truncated(format!("{what} {index}")));
        }
    }
    Ok(())
}

fn lies_within(start: u64, length: Option<u64>, len: u64) -> bool {
    length.and_then(|length| start.checked_add(length)).is_some_and(|end| end <= len)
}

fn read_at(file: &mut (impl Read + Seek), offset: u64, bytes: &mut [u8]) -> Result<(), String> {
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(bytes))
        .map_err(|error| format!("truncated ELF header: {error}"))
}
