package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// A user authenticates by a token; the API server reads all of them from one file.
type user struct {
	name, group, kubeconfig string
}

var users = []user{
	{"admin", "system:masters", "kubeconfig"},
	// No group: the operator has what the project's own RBAC rules grant it, and no more.
	{"tiproxy-operator", "", "kubeconfig-operator"},
	{"system:kube-controller-manager", "", "pki/kubeconfig-kube-controller-manager"},
	{"system:kube-scheduler", "", "pki/kubeconfig-kube-scheduler"},
	{"kwok", "system:masters", "pki/kubeconfig-kwok"},
}

// writeCredentials fills DIRECTORY with the certificates, keys, tokens and
// kubeconfigs of a cluster whose API server listens on PORT of 127.0.0.1.
func writeCredentials(arguments []string) error {
	if len(arguments) != 2 {
		return errors.New("usage: credentials DIRECTORY PORT")
	}
	directory, port := arguments[0], arguments[1]
	pki := filepath.Join(directory, "pki")
	if err := os.MkdirAll(pki, 0o700); err != nil {
		return err
	}
	authority, err := writeCertificates(pki)
	if err != nil {
		return err
	}
	var tokens strings.Builder
	for _, user := range users {
		token := randomToken()
		fmt.Fprintf(&tokens, "%s,%s,%s", token, user.name, user.name)
		if user.group != "" {
			fmt.Fprintf(&tokens, ",%s", user.group)
		}
		fmt.Fprintln(&tokens)
		config := kubeconfig(filepath.Base(directory), "https://127.0.0.1:"+port, authority, user.name, token)
		if err := clientcmd.WriteToFile(*config, filepath.Join(directory, user.kubeconfig)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(pki, "tokens.csv"), []byte(tokens.String()), 0o600)
}

func kubeconfig(cluster, server string, authority []byte, user, token string) *api.Config {
	config := api.NewConfig()
	config.Clusters[cluster] = &api.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos[user] = &api.AuthInfo{Token: token}
	config.Contexts[cluster] = &api.Context{Cluster: cluster, AuthInfo: user}
	config.CurrentContext = cluster
	return config
}

func randomToken() string {
	bytes := make([]byte, 32)
	rand.Read(bytes) // Never fails since Go 1.24.
	return hex.EncodeToString(bytes)
}
