//! Reads the committed object: an ELF file with programs in section `xdp`, functions they share in `.text`, and names of
//! memory and maps that are nowhere in it. Whoever links gives each name a descriptor.

use std::collections::BTreeMap;

/// What a name in the program stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The memory of a map's first value.
    Value(i32),
    /// A map, as an argument of a helper.
    Map(i32),
}

/// Two 32-bit words of an instruction that loads 64 bits, by `linux/bpf.h`.
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const LOAD_IMMEDIATE: u8 = 0x18;
const R_BPF_64_64: u32 = 1;
const R_BPF_64_32: u32 = 10;
const SECTION_REL: u32 = 9;
const SECTION_SYMBOLS: u32 = 2;
const INSTRUCTION: usize = 8;

/// A name and a place in a section.
#[derive(Clone, Copy, Debug)]
struct Symbol<'a> {
    name: &'a str,
    section: u16,
    value: usize,
    size: usize,
}

#[derive(Clone, Copy, Debug)]
struct Relocation {
    at: usize,
    kind: u32,
    symbol: usize,
}

#[derive(Debug)]
struct Section<'a> {
    name: &'a str,
    kind: u32,
    info: usize,
    bytes: &'a [u8],
}

/// A read object.
#[derive(Debug)]
pub struct Object<'a> {
    sections: Vec<Section<'a>>,
    symbols: Vec<Symbol<'a>>,
    relocations: BTreeMap<usize, Vec<Relocation>>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(N)?)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn text(table: &[u8], at: usize) -> Option<&str> {
    let rest = table.get(at..)?;
    std::str::from_utf8(&rest[..rest.iter().position(|byte| *byte == 0)?]).ok()
}

impl<'a> Object<'a> {
    /// Reads the tables of a 64-bit little-endian object.
    #[must_use]
    pub fn parse(file: &'a [u8]) -> Option<Self> {
        if file.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let table = number::<8>(file, 0x28)? as usize;
        let (size, count, names) =
            (number::<2>(file, 0x3a)? as usize, number::<2>(file, 0x3c)? as usize, number::<2>(file, 0x3e)? as usize);
        let header = |index: usize| file.get(table + index * size..)?.get(..size);
        let contents = |header: &[u8]| {
            let (from, length) = (number::<8>(header, 0x18)? as usize, number::<8>(header, 0x20)? as usize);
            // A section without contents in the file (SHT_NOBITS, SHT_NULL) still has a length.
            let empty = matches!(number::<4>(header, 4)?, 0 | 8);
            if empty { Some(&file[..0]) } else { file.get(from..from.checked_add(length)?) }
        };
        let strings = contents(header(names)?)?;
        let mut sections = Vec::with_capacity(count);
        for index in 0..count {
            let header = header(index)?;
            sections.push(Section {
                name: text(strings, number::<4>(header, 0)? as usize)?,
                kind: number::<4>(header, 4)? as u32,
                info: number::<4>(header, 0x2c)? as usize,
                bytes: contents(header)?,
            });
        }
        let symbols = sections.iter().position(|section| section.kind == SECTION_SYMBOLS)?;
        let strings = &sections.get(number::<4>(header(symbols)?, 0x28)? as usize)?.bytes;
        let symbols = sections[symbols].bytes.chunks_exact(24).map(|entry| {
            Some(Symbol {
                name: text(strings, number::<4>(entry, 0)? as usize)?,
                section: number::<2>(entry, 6)? as u16,
                value: number::<8>(entry, 8)? as usize,
                size: number::<8>(entry, 16)? as usize,
            })
        });
        let symbols = symbols.collect::<Option<Vec<_>>>()?;
        let relocations = sections.iter().filter(|section| section.kind == SECTION_REL).map(|section| {
            let entries = section.bytes.chunks_exact(16).map(|entry| {
                let info = number::<8>(entry, 8)?;
                Some(Relocation {
                    at: number::<8>(entry, 0)? as usize,
                    kind: info as u32,
                    symbol: (info >> 32) as usize,
                })
            });
            Some((section.info, entries.collect::<Option<Vec<_>>>()?))
        });
        let relocations = relocations.collect::<Option<BTreeMap<_, _>>>()?;
        Some(Self { sections, symbols, relocations })
    }

    /// What the object says of its licence.
    #[must_use]
    pub fn license(&self) -> &str {
        let found = self.sections.iter().find(|section| section.name == "license");
        found.and_then(|section| text(section.bytes, 0)).unwrap_or("")
    }

    /// One program, with the functions that it calls behind it and every name resolved.
    ///
    /// # Errors
    /// The name that is missing.
    pub fn link(&self, program: &str, resolve: &dyn Fn(&str) -> Option<Target>) -> Result<Vec<u8>, String> {
        let missing = |what: &str| format!("`{what}` is not in the object");
        let entry = self.symbols.iter().find(|symbol| symbol.name == program && symbol.size > 0);
        let entry = entry.ok_or_else(|| missing(program))?;
        let home = usize::from(entry.section);
        let whole =
            self.sections.get(home).and_then(|section| section.bytes.get(entry.value..entry.value + entry.size));
        let mut code = whole.ok_or_else(|| missing(program))?.to_vec();
        let own: Vec<Relocation> = self.relocations_within(home, entry.value, entry.size);
        let functions = self.sections.iter().position(|section| section.name == ".text");
        let calls = own.iter().any(|relocation| relocation.kind == R_BPF_64_32);
        let shared_at = code.len();
        self.resolve(&mut code, &own, 0, shared_at, resolve)?;
        if let (true, Some(functions)) = (calls, functions) {
            let section = &self.sections[functions];
            code.extend_from_slice(section.bytes);
            let inner = self.relocations_within(functions, 0, section.bytes.len());
            self.resolve(&mut code, &inner, shared_at, shared_at, resolve)?;
        }
        Ok(code)
    }

    fn relocations_within(&self, section: usize, from: usize, size: usize) -> Vec<Relocation> {
        let all = self.relocations.get(&section).map(Vec::as_slice).unwrap_or_default();
        let inside = all.iter().filter(|relocation| (from..from + size).contains(&relocation.at));
        inside.map(|relocation| Relocation { at: relocation.at - from, ..*relocation }).collect()
    }

    /// Writes what the names stand for into `code`, whose part from `base` on the relocations speak of.
    fn resolve(
        &self,
        code: &mut [u8],
        relocations: &[Relocation],
        base: usize,
        shared_at: usize,
        resolve: &dyn Fn(&str) -> Option<Target>,
    ) -> Result<(), String> {
        for relocation in relocations {
            let broken = || format!("relocation at {} is not understood", relocation.at);
            let symbol = self.symbols.get(relocation.symbol).ok_or_else(broken)?;
            let at = base + relocation.at;
            let instruction = code.get_mut(at..at + 2 * INSTRUCTION).ok_or_else(broken)?;
            match relocation.kind {
                R_BPF_64_64 if instruction[0] == LOAD_IMMEDIATE => {
                    let target = resolve(symbol.name).ok_or_else(|| format!("`{}` is unknown", symbol.name))?;
                    let (pseudo, fd, offset) = match target {
                        Target::Map(fd) => (PSEUDO_MAP_FD, fd, 0),
                        Target::Value(fd) => {
                            (PSEUDO_MAP_VALUE, fd, number::<4>(instruction, 4).unwrap_or_default() as u32)
                        }
                    };
                    instruction[1] = instruction[1] & 0x0f | pseudo << 4;
                    instruction[4..8].copy_from_slice(&fd.to_le_bytes());
                    instruction[12..16].copy_from_slice(&offset.to_le_bytes());
                }
                R_BPF_64_32 => {
                    // The immediate counts instructions from the next one on.
                    let within = number::<4>(instruction, 4).unwrap_or_default() as u32 as i32 + 1;
                    let target = (shared_at + symbol.value) / INSTRUCTION;
                    let from = at / INSTRUCTION + 1;
                    let distance = target as i32 + within - from as i32;
                    instruction[4..8].copy_from_slice(&distance.to_le_bytes());
                }
                _ => return Err(broken()),
            }
        }
        Ok(())
    }
}
