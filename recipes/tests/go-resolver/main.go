// Prints what grpc-go's etcd resolver and etcd's endpoint manager make of a service: for each
// state the resolver reports, one JSON line with the addresses, until standard input closes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"sort"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	etcdresolver "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// connection takes what a gRPC connection would be told.
type connection struct{ resolver.ClientConn }

func (connection) UpdateState(state resolver.State) error {
	addresses := []string{}
	for _, endpoint := range state.Endpoints {
		for _, address := range endpoint.Addresses {
			addresses = append(addresses, address.Addr)
		}
	}
	if len(state.Endpoints) == 0 {
		for _, address := range state.Addresses {
			addresses = append(addresses, address.Addr)
		}
	}
	sort.Strings(addresses)
	say(map[string]any{"resolved": addresses})
	return nil
}

func (connection) ReportError(err error) { say(map[string]any{"error": err.Error()}) }

func (connection) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

func say(what any) {
	line, err := json.Marshal(what)
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	endpoint, service := os.Args[1], os.Args[2]
	client, err := clientv3.NewFromURL(endpoint)
	must(err)
	defer client.Close()

	manager, err := endpoints.NewManager(client, service)
	must(err)
	listed, err := manager.List(context.Background())
	must(err)
	say(map[string]any{"listed": listed})

	builder, err := etcdresolver.NewBuilder(client)
	must(err)
	target, err := url.Parse("etcd:///" + service)
	must(err)
	built, err := builder.Build(resolver.Target{URL: *target}, connection{}, resolver.BuildOptions{})
	must(err)
	io.Copy(io.Discard, os.Stdin)
	built.Close()
}
