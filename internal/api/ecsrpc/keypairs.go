package ecsrpc

import (
	"context"
	"crypto/md5" //nolint:gosec // the form of a fingerprint, not a protection
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"

	"openimds/internal/control"
	"openimds/internal/instance"
)

const (
	keyBits         = 2048
	maxKeyInstances = 50
)

type keyPairInput struct {
	Name string     `p:"KeyPairName,required"`
	Tags []tagInput `p:"Tag"`
}

func (in keyPairInput) check() (map[string]string, error) {
	if n := len([]rune(in.Name)); n < 2 || n > 128 || !startsWithLetter(in.Name) || !instance.OneLine(in.Name) || strings.ContainsAny(in.Name, "/ ") {
		return nil, refuse(http.StatusBadRequest, "InvalidKeyPairName.Malformed", "The specified KeyPairName is wrongly formed.")
	}
	return tags(in.Tags)
}

type madeKeyPair struct {
	ID          string `p:"KeyPairId"`
	Name        string `p:"KeyPairName"`
	Fingerprint string `p:"KeyPairFingerPrint"`
	Private     string `p:"PrivateKeyBody,omitempty"`
}

func createKeyPair(ctx context.Context, r *request, in keyPairInput) (any, error) {
	set, err := in.check()
	if err != nil {
		return nil, err
	}
	if r.caller.DryRun {
		_, err := r.Control.NewKeyPair(ctx, r.caller, in.Name, "", "", nil)
		return nil, err
	}
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("make a key pair: %w", err)
	}
	blob := sshBlob([]byte("ssh-rsa"), mpint(big.NewInt(int64(private.E))), mpint(private.N))
	made, err := r.Control.NewKeyPair(ctx, r.caller, in.Name, "ssh-rsa "+base64.StdEncoding.EncodeToString(blob), fingerprint(blob), set)
	if err != nil {
		return nil, err
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	return madeKeyPair{made.ID, made.Name, made.Fingerprint, string(body)}, nil
}

func importKeyPair(ctx context.Context, r *request, in struct {
	keyPairInput
	Public string `p:"PublicKeyBody,required"`
}) (any, error) {
	set, err := in.check()
	if err != nil {
		return nil, err
	}
	line, blob, ok := parsePublicKey(in.Public)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidPublicKeyBody.Malformed", "The specified PublicKeyBody is wrongly formed.")
	}
	made, err := r.Control.NewKeyPair(ctx, r.caller, in.Name, line, fingerprint(blob), set)
	if err != nil {
		return nil, err
	}
	return madeKeyPair{ID: made.ID, Name: made.Name, Fingerprint: made.Fingerprint}, nil
}

var keyTypes = []string{"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}

// parsePublicKey reads a line of authorized_keys, without options, and returns
// it without the comment, and the key's bytes.
func parsePublicKey(text string) (line string, blob []byte, ok bool) {
	if strings.ContainsAny(strings.TrimSpace(text), "\r\n") {
		return "", nil, false
	}
	fields := strings.Fields(text)
	if len(fields) < 2 || !slices.Contains(keyTypes, fields[0]) {
		return "", nil, false
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || len(blob) > 4096 || len(blob) < 4+len(fields[0])+32 {
		return "", nil, false
	}
	kind := fields[0]
	if int(binary.BigEndian.Uint32(blob)) != len(kind) || string(blob[4:4+len(kind)]) != kind {
		return "", nil, false
	}
	return fields[0] + " " + fields[1], blob, true
}

// sshBlob joins parts as SSH writes them (RFC 4253, section 6.6).
func sshBlob(parts ...[]byte) []byte {
	var blob []byte
	for _, p := range parts {
		blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(p))), p...)
	}
	return blob
}

func mpint(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

// fingerprint is MD5 over the public key, in the form of RFC 4716.
func fingerprint(blob []byte) string {
	sum := md5.Sum(blob) //nolint:gosec // as above
	var pairs []string
	for _, b := range sum {
		pairs = append(pairs, fmt.Sprintf("%02x", b))
	}
	return strings.Join(pairs, ":")
}

func describeKeyPairs(_ context.Context, r *request, in struct {
	paging
	Name          string     `p:"KeyPairName"`
	Fingerprint   string     `p:"KeyPairFingerPrint"`
	IncludePublic bool       `p:"IncludePublicKey"`
	Tags          []tagInput `p:"Tag"`
}) (any, error) {
	number, size, err := in.bounds(50)
	if err != nil {
		return nil, err
	}
	if err := checkTagCount(in.Tags); err != nil {
		return nil, err
	}
	all, err := r.Control.KeyPairs(r.caller)
	if err != nil {
		return nil, err
	}
	type view struct {
		ID          string    `p:"KeyPairId"`
		Name        string    `p:"KeyPairName"`
		Fingerprint string    `p:"KeyPairFingerPrint"`
		Created     string    `p:"CreationTime"`
		Group       string    `p:"ResourceGroupId"`
		Public      string    `p:"PublicKey,omitempty"`
		Tags        []tagView `p:"Tags>Tag"`
	}
	var found []view
	for _, k := range all {
		if !glob(in.Name, k.Name) || in.Fingerprint != "" && in.Fingerprint != k.Fingerprint || !hasTags(k.Tags, in.Tags) {
			continue
		}
		v := view{ID: k.ID, Name: k.Name, Fingerprint: k.Fingerprint, Created: minute(k.Created), Tags: viewTags(k.Tags)}
		if in.IncludePublic {
			v.Public = k.PublicKey
		}
		found = append(found, v)
	}
	return struct {
		KeyPairs   []view `p:"KeyPairs>KeyPair"`
		PageNumber int    `p:"PageNumber"`
		PageSize   int    `p:"PageSize"`
		TotalCount int    `p:"TotalCount"`
	}{page(found, number, size), number, size, len(found)}, nil
}

func deleteKeyPairs(ctx context.Context, r *request, in struct {
	Names idList `p:"KeyPairNames,required"`
}) (any, error) {
	if len(in.Names) > maxBatch {
		return nil, invalid("KeyPairNames")
	}
	return nil, r.Control.DeleteKeyPairs(ctx, r.caller, in.Names)
}

type attachKeyInput struct {
	Name string `p:"KeyPairName,required"`
	IDs  idList `p:"InstanceIds,required"`
}

func attachKeyPair(ctx context.Context, r *request, in attachKeyInput) (any, error) {
	return r.setKeyPair(ctx, in, false)
}

func detachKeyPair(ctx context.Context, r *request, in attachKeyInput) (any, error) {
	return r.setKeyPair(ctx, in, true)
}

type attachKeyReply struct {
	Name    string       `p:"KeyPairName"`
	Total   int          `p:"TotalCount"`
	Failed  int          `p:"FailCount"`
	Results []itemResult `p:"Results>Result"`
}

func (r *request) setKeyPair(ctx context.Context, in attachKeyInput, detach bool) (any, error) {
	if len(in.IDs) > maxKeyInstances {
		return nil, refuse(http.StatusBadRequest, "InvalidInstanceIds.ValueNotSupported", "The specified InstanceIds are more than 50.")
	}
	if err := checkOnce(in.IDs, "InstanceIds"); err != nil {
		return nil, err
	}
	done, err := r.Control.SetKeyPairs(ctx, r.caller, control.KeyChange{IDs: in.IDs, Name: in.Name, Detach: detach})
	results, failed := resultsOf(done, "successful")
	return attachKeyReply{in.Name, len(results), failed, results}, err
}

// itemResult is what became of one of several instances.
type itemResult struct {
	ID      string `p:"InstanceId"`
	Code    string `p:"Code"`
	Message string `p:"Message"`
	Success bool   `p:"Success"`
}

// resultsOf shows what became of each instance.
func resultsOf(done []control.Outcome, well string) (results []itemResult, failed int) {
	for _, o := range done {
		result := itemResult{o.ID, "200", well, true}
		if o.Err != nil {
			e, _ := toWire(o.Err)
			result = itemResult{o.ID, e.code, e.message, false}
			failed++
		}
		results = append(results, result)
	}
	return results, failed
}
