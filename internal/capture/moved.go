package capture

import "fmt"

// Moved notes that the source goes on in another binlog file, created at that second, and that its next transaction begins at offset
// or behind it. Sources without GTIDs call it for each file, between transactions: their position would otherwise stay in the file
// before until the next commit, and be lost when that one is purged.
func (w *Writer) Moved(file string, created uint32, offset uint64) error {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	if w.tx.open {
		return fmt.Errorf("binlog file %s begins inside a transaction of %s", file, w.tx.File)
	}
	if w.pos.File != file || w.pos.FileCreated != created {
		w.pos.File, w.pos.FileCreated, w.pos.Offset = file, created, offset
		w.moved = true
	}
	return w.err
}
