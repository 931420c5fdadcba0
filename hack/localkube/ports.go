package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Below the range from which Linux takes the ports of outgoing connections,
// which could otherwise take a port between its choice and its use.
const firstPort, lastPort = 20000, 32000

// printFreePorts prints as many free ports of 127.0.0.1 as its argument says.
func printFreePorts(arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("usage: ports COUNT")
	}
	count, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	for attempt := 0; count > 0; attempt++ {
		if attempt == 1000 {
			return fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		// Held until the end, so that no port is printed twice.
		defer listener.Close()
		fmt.Println(port)
		count--
	}
	return nil
}
