//! As many files as there are incidents, of which few are open at a time.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::pcapng;
use super::plan::Planned;
use crate::capture::{Frame, Interface};
use crate::emit::console::printable;

/// Files that are open at a time: far below what a process may have.
const MOST_OPEN: usize = 64;

/// The files.
pub(super) struct Files {
    folder: PathBuf,
    all: Vec<Output>,
    /// Those that are open, the longest open first.
    open: VecDeque<usize>,
    buffer: Vec<u8>,
}

struct Output {
    planned: Planned,
    /// Interfaces that the file describes so far: of which input, and where they stand there.
    interfaces: Vec<(u32, (u32, u32))>,
    begun: bool,
    file: Option<BufWriter<File>>,
}

impl Files {
    pub(super) fn new(folder: &Path, planned: Vec<Planned>) -> Self {
        let output = |planned| Output {
            planned,
            interfaces: Vec::new(),
            begun: false,
            file: None,
        };
        Self {
            folder: folder.to_owned(),
            all: planned.into_iter().map(output).collect(),
            open: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// Adds a frame to a file, with what is said of it. `input` is what its capture is called.
    pub(super) fn write(
        &mut self,
        file: u32,
        frame: &Frame<'_>,
        from: (&Interface, &str),
        comments: &[&str],
    ) -> io::Result<()> {
        let (interface, input) = from;
        let index = file as usize;
        let Self {
            folder,
            all,
            open,
            buffer,
        } = self;
        buffer.clear();
        let output = &mut all[index];
        if !output.begun {
            pcapng::section_header(&output.planned.titles, buffer);
        }
        let place = (frame.at.input, interface.place);
        let known = output.interfaces.iter().position(|&known| known == place);
        let number = known.unwrap_or_else(|| {
            let (section, number) = interface.place;
            let comment = format!("section {section}, interface {number} of {}", printable(input));
            pcapng::interface(interface, &comment, buffer);
            output.interfaces.push(place);
            output.interfaces.len() - 1
        });
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        pcapng::packet(number, frame, comments.iter().copied(), buffer);
        let path = folder.join(&output.planned.name);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if output.file.is_none() {
            let mut options = OpenOptions::new();
            if output.begun {
                options.append(true);
            } else {
                options.write(true).create(true).truncate(true);
            }
            output.file = Some(BufWriter::new(options.open(&path).map_err(named)?));
            output.begun = true;
            open.push_back(index);
        }
        if let Some(file) = &mut output.file {
            file.write_all(buffer).map_err(named)?;
        }
        if open.len() > MOST_OPEN
            && let Some(oldest) = open.pop_front()
        {
            self.close(oldest)?;
        }
        Ok(())
    }

    fn close(&mut self, index: usize) -> io::Result<()> {
        let output = &mut self.all[index];
        let path = self.folder.join(&output.planned.name);
        match output.file.take() {
            Some(mut file) => file
                .flush()
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            None => Ok(()),
        }
    }

    /// Ends the files; how many there are.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        for index in std::mem::take(&mut self.open) {
            self.close(index)?;
        }
        Ok(self.all.iter().filter(|output| output.begun).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::capture::{At, CaptureFile, Input, LinkType};

    #[test]
    fn more_files_than_may_be_open_are_each_whole() {
        let folder = std::env::temp_dir().join(format!("dcom-sensor-{}-many", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let planned = (0..200).map(|number| Planned {
            name: format!("{number}.pcapng"),
            titles: vec![],
        });
        let mut files = Files::new(&folder, planned.collect());
        let interface = |number| Interface {
            place: (0, number),
            link_type: LinkType(1),
            snap_length: 0,
            name: None,
            description: None,
        };
        for round in 0..3_u8 {
            for file in 0..200 {
                let frame = Frame {
                    at: At::default(),
                    link_type: LinkType(1),
                    bytes: &[round, u8::try_from(file).unwrap()],
                    original_length: 2,
                };
                let from = interface(u32::from(round % 2));
                files.write(file, &frame, (&from, "a.pcap"), &[]).unwrap();
                assert!(files.open.len() <= MOST_OPEN);
            }
        }
        assert_eq!(files.finish().unwrap(), 200);
        for file in [0_u8, 100, 199] {
            let path = folder.join(format!("{file}.pcapng"));
            let mut capture = CaptureFile::open(&Input::File(path)).unwrap();
            let mut seen = Vec::new();
            while let Some((frame, from)) = capture.next_with_interface().unwrap() {
                seen.push((frame.bytes.to_vec(), from.place.1));
            }
            assert_eq!(seen, [(vec![0, file], 0), (vec![1, file], 1), (vec![2, file], 0)]);
        }
        let _ = fs::remove_dir_all(&folder);
    }
}
