// Command localkube is a Kubernetes control plane in one binary: the component
// is chosen by the name it is called by, or by the first argument.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// The commands are built only when chosen: they share global registries.
var components = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":                 runKubectl,
	"credentials":             report(writeCredentials),
	"ports":                   report(printFreePorts),
}

func main() {
	component, found := components[filepath.Base(os.Args[0])]
	if !found && len(os.Args) > 1 {
		// Every component reads os.Args by itself and expects its own name first.
		os.Args = os.Args[1:]
		component, found = components[os.Args[0]]
	}
	if !found {
		fmt.Fprintf(os.Stderr, "usage: localkube COMPONENT [ARGUMENT...]\ncomponents: %s\n",
			strings.Join(slices.Sorted(maps.Keys(components)), ", "))
		os.Exit(2)
	}
	os.Exit(component())
}

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}

// report turns a command of our own into a component.
func report(command func(arguments []string) error) func() int {
	return func() int {
		if err := command(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "localkube %s: %v\n", os.Args[0], err)
			return 1
		}
		return 0
	}
}
