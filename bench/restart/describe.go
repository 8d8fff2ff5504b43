package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/api/sigv4"
)

// describe describes instances at random, one after the other, and returns how
// long each took, in milliseconds.
func describe(ctx context.Context, control, dialect string, ids []string, n int) ([]float64, error) {
	client := &http.Client{Timeout: time.Minute}
	random := rand.New(rand.NewPCG(1, 2))
	var times []float64
	for i := range n + 10 {
		id := ids[random.IntN(len(ids))]
		req, err := request(ctx, control, dialect, id, i)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		res, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(res.Body)
		if err = firstOf(err, res.Body.Close()); err != nil {
			return nil, err
		}
		took := time.Since(began)
		if res.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(id)) {
			return nil, fmt.Errorf("describe %s: %s\n%s", id, res.Status, text)
		}
		if i >= 10 { // the first ones make the connection
			times = append(times, float64(took)/float64(time.Millisecond))
		}
	}
	return times, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// request is a signed DescribeInstances of one instance.
func request(ctx context.Context, control, dialect, id string, i int) (*http.Request, error) {
	if dialect == "ec2" {
		form := url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}, "InstanceId.1": {id}}.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, control+"/", strings.NewReader(form))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return req, sigv4.Sign(req, []byte(form), sigv4.Credentials{AccessKeyID: keyEC2, SecretKey: secret}, regions["ec2"], "ec2", time.Now())
	}
	query := url.Values{"RegionId": {regions["ecs"]}, "InstanceIds": {`["` + id + `"]`}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, control+"/?"+query, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Acs-Action", "DescribeInstances")
	req.Header.Set("X-Acs-Version", "2014-05-26")
	nonce := fmt.Sprintf("%d-%d", time.Now().UnixNano(), i)
	return req, alisign.SignV3(req, nil, alisign.Credentials{AccessKeyID: keyECS, AccessKeySecret: secret}, nonce, time.Now())
}
