package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
)

// serverLog passes the embedded server's lines on, and listens for errors of the disk among them: the server does not answer a
// publisher whose message it could not write.
type serverLog struct {
	log   *slog.Logger
	fail  context.CancelCauseFunc
	fatal atomic.Pointer[error]
	// recovered counts the streams that the server has recovered.
	recovered atomic.Int64
	// quiet is set while the server stops.
	quiet atomic.Bool
}

func (l *serverLog) write(level slog.Level, format string, v ...any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, strings.TrimSpace(fmt.Sprintf(format, v...)))
	}
}

func (l *serverLog) Debugf(format string, v ...any) { l.write(slog.LevelDebug, format, v...) }
func (l *serverLog) Tracef(format string, v ...any) { l.write(slog.LevelDebug, format, v...) }

// Noticef tells how far a start has come.
func (l *serverLog) Noticef(format string, v ...any) {
	if strings.HasPrefix(format, "  Restored ") {
		l.recovered.Add(1)
	}
	l.write(slog.LevelDebug, format, v...)
}

func (l *serverLog) Warnf(format string, v ...any) {
	level := slog.LevelWarn
	if l.quiet.Load() {
		level = slog.LevelDebug
	}
	l.write(level, format, v...)
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.write(slog.LevelError, format, v...)
	if err := errnoAmong(v); err != nil {
		l.fail(err)
	}
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.write(slog.LevelError, format, v...)
	err := errors.New(strings.TrimSpace(fmt.Sprintf(format, v...)))
	if cause := errnoAmong(v); cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	l.fatal.CompareAndSwap(nil, &err)
}

func errnoAmong(v []any) error {
	for _, a := range v {
		var no syscall.Errno
		if err, ok := a.(error); ok && errors.As(err, &no) {
			return err
		}
	}
	return nil
}
