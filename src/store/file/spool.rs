//! Rows that wait on disk until all of them are there and their columns are known.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
    rc::Rc,
};

/// So many bytes are written or read at a time.
const AT_A_TIME: usize = 1 << 20;

/// Encoded rows, in the order in which they were put in. Those that do not fit a block lie in a
/// nameless file in the folder of the output, which goes with the process, however that ends.
pub(super) struct Spool {
    folder: Rc<Path>,
    file: Option<BufWriter<File>>,
    block: Vec<u8>,
}

impl Spool {
    pub(super) fn new(folder: Rc<Path>) -> Spool {
        Spool { folder, file: None, block: Vec::new() }
    }

    /// Where the next rows are appended; [`ended`](Self::ended) follows.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.block
    }

    /// What has been appended are whole rows.
    ///
    /// # Errors
    /// When they cannot be written.
    #[inline]
    pub(super) fn ended(&mut self) -> io::Result<()> {
        if self.block.len() < AT_A_TIME { Ok(()) } else { self.write() }
    }

    #[cold]
    fn write(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(tempfile::tempfile_in(&self.folder)?)),
        };
        file.write_all(&(self.block.len() as u64).to_le_bytes())?;
        file.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Hands all rows to `each`, some whole ones at a time.
    ///
    /// # Errors
    /// When they cannot be read, and what `each` says.
    pub(super) fn read<E: From<io::Error>>(
        self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(file) = self.file {
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            let mut file = BufReader::new(file);
            let (mut length, mut block) = ([0; 8], Vec::new());
            while !file.fill_buf()?.is_empty() {
                file.read_exact(&mut length)?;
                block.resize(u64::from_le_bytes(length) as usize, 0);
                file.read_exact(&mut block)?;
                each(&block)?;
            }
        }
        if self.block.is_empty() { Ok(()) } else { each(&self.block) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_and_only_many_of_them_need_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for rows in [0, 10, 300_000u64] {
            let mut spool = Spool::new(folder.path().into());
            for row in 0..rows {
                spool.open().extend_from_slice(&row.to_le_bytes());
                spool.ended().unwrap();
            }
            assert_eq!(spool.file.is_some(), rows > 10);
            assert_eq!(folder.path().read_dir().unwrap().count(), 0, "the file has no name");
            let mut next = 0u64;
            let read = spool.read(|block| {
                for row in block.chunks(8) {
                    assert_eq!(row, next.to_le_bytes());
                    next += 1;
                }
                Ok::<(), io::Error>(())
            });
            read.unwrap();
            assert_eq!(next, rows);
        }
    }
}
