package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"openimds/internal/alarm/deliver"
	"openimds/internal/api"
	"openimds/internal/api/monitor/cloudwatch"
	"openimds/internal/api/monitor/cms"
	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/metric"
)

// monitorConfig is what the monitoring APIs and alarms are made of.
type monitorConfig struct {
	// names of the ECS dialect's metrics.
	names config.CloudMonitor
	// secret signs the messages of alarms; empty: they are not signed.
	secret []byte
	// loopback lets them go to this machine.
	loopback bool
}

// metricNames are those of the ECS dialect.
func (m monitorConfig) metricNames() cms.Names {
	names, err := cms.NewNames(m.names.Namespace, m.names.Metrics.Of())
	if err != nil {
		panic("imds: names of metrics that were checked are not valid: " + err.Error())
	}
	return names
}

// monitoring adds the monitoring APIs, where usage is kept.
func (p *plane) monitoring(s *api.Services) {
	if p.usage.Ledger == nil {
		return
	}
	past := p.usage.monitored()
	s.CloudWatch = cloudwatch.New(cloudwatch.Config{Control: p.control, History: past, Flush: p.usage.Flush, Logger: p.log})
	s.CMS = cms.New(cms.Config{
		Control: p.control, History: past, Flush: p.usage.Flush, Names: p.monitor.metricNames(), Region: p.regions["ecs"], Logger: p.log,
	})
}

// lateReports is how long after a minute's end alarms are evaluated: the
// reports of nodes have come by then.
const lateReports = 10 * time.Second

// watchAlarms evaluates alarms each minute, and delivers their messages, until
// ctx is done.
func (p *plane) watchAlarms(ctx context.Context) {
	if p.usage.Ledger == nil {
		return
	}
	names := p.monitor.metricNames()
	metrics := control.Metrics{Read: p.usage.Kept().Range, Measure: func(dialect, namespace, name string) (metric.Measure, bool) {
		if dialect == "ecs" {
			return names.Measure(namespace, name)
		}
		return cloudwatch.Measure(namespace, name)
	}}
	courier := deliver.New(deliver.Config{DB: p.db, Secret: p.monitor.secret, Loopback: p.monitor.loopback, Logger: p.log})
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		courier.Run(ctx)
	}()
	defer func() { <-delivered }()
	for {
		now := time.Now()
		t := time.NewTimer(now.Add(-lateReports).Truncate(time.Minute).Add(time.Minute + lateReports).Sub(now))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if err := p.usage.Flush(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("alarms are evaluated without the counts of the last minute", "err", err)
		}
		if err := p.control.EvaluateAlarms(ctx, metrics); err != nil && ctx.Err() == nil {
			p.log.Error("some alarms were not evaluated; trying again in a minute", "err", err)
		}
	}
}

// alarmKey returns what signs the messages of alarms: the text of a file of the
// state folder, which is made if there is none. Receivers are given it.
func alarmKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "alarm-key")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data = []byte(rand.Text() + rand.Text() + "\n")
		t, terr := os.CreateTemp(dir, ".alarm-key-*") // mode 0600
		if errors.Is(terr, syscall.EROFS) {
			return nil, nil // nothing changes on a disk that is read-only, and nobody is told
		}
		if terr != nil {
			return nil, fmt.Errorf("make the key of alarm messages: %w", terr)
		}
		defer os.Remove(t.Name())
		// It gets its name when it is whole, so that no crash leaves half of it.
		_, err = t.Write(data)
		if err == nil {
			err = t.Sync()
		}
		if err = errors.Join(err, t.Close()); err == nil {
			err = os.Link(t.Name(), path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make or read the key of alarm messages: %w", err)
	}
	key := bytes.TrimSpace(data)
	if len(key) < shortestToken {
		return nil, fmt.Errorf("key of alarm messages %s: expected at least %d characters; remove the file, and the next start makes another", path, shortestToken)
	}
	return key, nil
}
