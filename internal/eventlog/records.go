package eventlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The server's record in a file of messages begins with its length (the highest bit is a flag), its sequence (the highest two bits
// are flags), its time and the length of its subject; it ends with a checksum.
const (
	recordHeader = 22
	minRecord    = recordHeader + 8
	lengthBits   = 1<<31 - 1
	sequenceBits = 1<<62 - 1
	tombstoneBit = 1 << 62
)

// checkRecords looks through the files that the server reads when it starts for a damaged sequence. Where its index is valid, it does
// not look at checksums then, and would fill in the sequences between two records for ever, with all the memory there is.
func checkRecords(dir string) error {
	folders, err := streamFolders(dir)
	if err != nil {
		return err
	}
	before := ""
	for _, f := range folders {
		source, _ := sourceOf(filepath.Base(f))
		msgs := filepath.Join(f, "msgs")
		files := newest(msgs, 1)
		if source != before { // the one where messages expire
			files = append(files, oldest(msgs)...)
		}
		before = source
		for _, file := range files {
			if err := checkSequences(source, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSequences fails if the sequences of a file's records are further apart than the file has room for. The last record may be
// the rest of a write that a crash cut short, and a length that is wrong is found by the server.
func checkSequences(source, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("check the log: %w", err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return fmt.Errorf("check the log: %w", err)
	}
	room := uint64(i.Size()) / minRecord
	in := bufio.NewReaderSize(f, 256<<10)
	var first, last uint64
	for {
		var h [recordHeader]byte
		if _, err := io.ReadFull(in, h[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("check the log's %s: %w", path, err)
		}
		if first > 0 && (last < first || last-first > room) {
			return &CorruptError{Source: source, StreamSeq: first, Reason: fmt.Sprintf("in %s a message with sequence %d follows", path, last)}
		}
		n, seq := int(binary.LittleEndian.Uint32(h[0:])&lengthBits), binary.LittleEndian.Uint64(h[4:])
		if n < minRecord {
			return nil
		}
		if seq &= tombstoneBit | sequenceBits; seq&tombstoneBit == 0 && seq > 0 {
			last = seq
			if first == 0 {
				first = last
			}
		}
		if skipped, err := in.Discard(n - recordHeader); err != nil && skipped < n-recordHeader {
			return nil // cut short
		}
	}
}
