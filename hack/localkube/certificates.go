package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const validity = 365 * 24 * time.Hour

// writeCertificates writes what the API server serves with and signs service
// account tokens with, and returns the certificate of the authority in PEM.
// The key of the authority is not kept: nothing else is ever signed with it.
func writeCertificates(directory string) ([]byte, error) {
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "local-cluster"},
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	serving := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// 10.96.0.1 is the address of the Service kubernetes in the range given to the API server.
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
		DNSNames:    []string{"localhost", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
	}
	for _, certificate := range []*x509.Certificate{authority, serving} {
		// An hour back: the clocks of this machine may be set while the cluster runs.
		certificate.NotBefore = time.Now().Add(-time.Hour)
		certificate.NotAfter = time.Now().Add(validity)
	}
	authorityKey, err := newKey()
	if err != nil {
		return nil, err
	}
	authorityPEM, err := sign(authority, authority, authorityKey, authorityKey)
	if err != nil {
		return nil, err
	}
	servingKey, err := newKey()
	if err != nil {
		return nil, err
	}
	servingPEM, err := sign(serving, authority, servingKey, authorityKey)
	if err != nil {
		return nil, err
	}
	serviceAccountKey, err := newKey()
	if err != nil {
		return nil, err
	}
	for name, key := range map[string]*ecdsa.PrivateKey{
		"apiserver.key":       servingKey,
		"service-account.key": serviceAccountKey,
	} {
		if err := writeKey(filepath.Join(directory, name), key); err != nil {
			return nil, err
		}
	}
	for name, content := range map[string][]byte{"ca.crt": authorityPEM, "apiserver.crt": servingPEM} {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	return authorityPEM, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func sign(certificate, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) ([]byte, error) {
	signed, err := x509.CreateCertificate(rand.Reader, certificate, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})
	return os.WriteFile(path, block, 0o600)
}
