package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Long enough that a kept directory does not stop working; keys never leave it.
const certLife = 10 * 365 * 24 * time.Hour

type pki struct{ ca, adminCert, adminKey []byte }

// loadOrCreatePKI keeps one set of keys per directory, so clients and issued tokens
// survive a restart. The file names are shared with run.sh.
func loadOrCreatePKI(dir string) (*pki, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		// Made aside and renamed: a killed first start leaves no half set behind.
		next := dir + ".next"
		if err := os.RemoveAll(next); err != nil {
			return nil, err
		}
		if err := createPKI(next); err != nil {
			return nil, err
		}
		if err := os.Rename(next, dir); err != nil {
			return nil, err
		}
	}
	var p pki
	for name, into := range map[string]*[]byte{"ca.crt": &p.ca, "admin.crt": &p.adminCert, "admin.key": &p.adminKey} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		*into = data
	}
	return &p, nil
}

func createPKI(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, caKey, err := issue(dir, "ca", &x509.Certificate{
		Subject:               pkix.Name{CommonName: "modelfleet-test-ca"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil, nil)
	if err != nil {
		return err
	}
	_, _, err = issue(dir, "apiserver", &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)},
	}, ca, caKey)
	if err != nil {
		return err
	}
	_, _, err = issue(dir, "admin", &x509.Certificate{
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
	if err != nil {
		return err
	}
	sa, err := newKey(filepath.Join(dir, "sa.key"))
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(&sa.PublicKey)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", pub)
}

// issue writes name.key and name.crt. Without a parent the certificate signs itself.
func issue(dir, name string, cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := newKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, parentKey = cert, key
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	cert.SerialNumber = serial
	// An hour back, for clocks that were set in between.
	cert.NotBefore = time.Now().Add(-time.Hour)
	cert.NotAfter = cert.NotBefore.Add(certLife)
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, err
	}
	if err := writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der); err != nil {
		return nil, nil, err
	}
	made, err := x509.ParseCertificate(der)
	return made, key, err
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func (p *pki) kubeconfig(server string) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: modelfleet
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: admin
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: modelfleet
  context: {cluster: modelfleet, user: admin}
current-context: modelfleet
`, server, b64(p.ca), b64(p.adminCert), b64(p.adminKey))
}
