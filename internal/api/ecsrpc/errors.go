package ecsrpc

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"openimds/internal/api/alisign"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// wireError is an error as the client sees it.
type wireError struct {
	status        int
	code, message string
}

// Error returns the code alone: a message may repeat the request.
func (e *wireError) Error() string { return e.code }

func refuse(status int, code, message string) error { return &wireError{status, code, message} }

func missing(name string) error {
	return refuse(http.StatusBadRequest, "MissingParameter",
		fmt.Sprintf("The input parameter \"%s\" that is mandatory for processing this request is not supplied.", name))
}

func invalid(name string) error {
	return refuse(http.StatusBadRequest, "InvalidParameter", fmt.Sprintf("The specified parameter \"%s\" is not valid.", show(name)))
}

func malformed(name string) error {
	return refuse(http.StatusBadRequest, "Invalid"+name+".Malformed", fmt.Sprintf("The specified %s are not valid: a JSON array of strings is expected.", name))
}

// show shortens a piece of the request for a message.
func show(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

// reasons are the codes of what a use case refuses. A %s stands for the
// error's subject. Codes that begin with OpenImds are our own.
var reasons = map[control.Reason]wireError{
	control.DryRun:              {400, "DryRunOperation", "Request validation has been passed with DryRun flag set."},
	control.Denied:              {403, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM."},
	control.InstanceNotFound:    {404, "InvalidInstanceId.NotFound", "The specified InstanceId does not exist."},
	control.ImageNotFound:       {404, "InvalidImageId.NotFound", "The specified ImageId does not exist."},
	control.KeyPairNotFound:     {400, "InvalidKeyPairName.NotFound", "The specified KeyPairName does not exist."},
	control.KeyPairExists:       {400, "KeyPair.AlreadyExist", "The key pair already exist."},
	control.KeyPairOnWindows:    {403, "DependencyViolation.WindowsInstance", "The instance creation is Windows, cannot use SSH key pair to login."},
	control.RoleNotFound:        {404, "InvalidRamRole.NotFound", "The specified RAMRoleName does not exist."},
	control.RoleAttached:        {403, "InvalidInstance.RoleAlreadyAttached", "The specified instance already has a RAM role."},
	control.TemplateNotFound:    {404, "InvalidLaunchTemplate.NotFound", "The specified LaunchTemplate does not exist."},
	control.TemplateExists:      {400, "InvalidLaunchTemplateName.Duplicate", "The specified LaunchTemplateName already exists."},
	control.InterfaceNotFound:   {404, "InvalidEniId.NotFound", "The specified NetworkInterfaceId does not exist."},
	control.ImageExists:         {400, "InvalidImageName.Duplicated", "The specified Image name has already been used."},
	control.InterfaceInUse:      {400, "InvalidOperation.InvalidEniState", "The NetworkInterface %s is in use."},
	control.AttachmentNotFound:  {404, "InvalidEniId.NotFound", "The specified NetworkInterfaceId does not exist."},
	control.PrimaryInterface:    {400, "InvalidOperation.InvalidEniType", "The primary NetworkInterface cannot be detached."},
	control.PrimaryAddress:      {400, "InvalidOperation.PrimaryIp", "The primary private IP address cannot be taken away."},
	control.AddressNotAssigned:  {400, "InvalidIp.IpUnassigned", "The specified IP address %s is not assigned."},
	control.DeviceInUse:         {400, "InvalidParameter", "The instance %s has an interface at that place."},
	control.SubnetWithoutIPv6:   {400, "InvalidVSwitch.Ipv6NotTurnOn", "The VSwitch %s has no IPv6 CIDR block."},
	control.StopProtected:       {403, "OperationDenied", "The instance %s may not be stopped."},
	control.SpotOnce:            {403, "OperationDenied", "The instance %s may not be stopped."},
	control.HibernationOff:      {403, "OperationDenied", "The instance %s is not configured for hibernation."},
	control.ResourceNotFound:    {404, "InvalidResourceId.NotFound", "The specified ResourceIds are not found in our records."},
	control.AssociationNotFound: {404, "InvalidRamRole.NotFound", "The specified RAMRoleName does not exist."},
	control.IncorrectState:      {403, "IncorrectInstanceStatus", "The current status of the resource does not support this operation."},
	control.DeletionProtected:   {403, "InvalidOperation.DeletionProtection", "The operation is not allowed due to deletion protection."},
	control.InvalidValue:        {400, "InvalidParameter", "The specified parameter \"%s\" is not valid."},
	control.MissingValue:        {400, "MissingParameter", "The input parameter \"%s\" that is mandatory for processing this request is not supplied."},
	control.InvalidTagKey:       {400, "InvalidTagKey.Malformed", "The specified Tag.n.Key is not valid."},
	control.TooManyTags:         {400, "InvalidTagCount", "The specified tags are beyond the permitted range."},
	control.TokensEnforced:      {403, "OpenImds.TokensEnforced", "The account requires session tokens: HttpTokens must be required."},
	control.ImageWithoutSupport: {400, "OpenImds.ImageWithoutImdsSupport",
		"The image %s does not support the security hardening mode. Launch with HttpTokens optional, install cloud-init 23.2.2 or later, then switch with ModifyInstanceMetadataOptions; or set Features.ImdsSupport of the image to v2."},
	control.WindowsWithTokens: {400, "OpenImds.WindowsWithTokensRequired",
		"The image %s is a Windows image, and Windows instances do not support the security hardening mode at launch."},
	control.SupportIrreversible: {400, "OpenImds.ImdsSupportIrreversible", "Features.ImdsSupport of image %s is v2 and cannot be set back to v1."},
	control.UserDataTooLarge:    {400, "InvalidUserData.SizeExceeded", "The specified parameter UserData exceeds the size."},
	control.IdempotencyMismatch: {400, "IdempotentParameterMismatch", "The specified parameters differ from those of the request that used the ClientToken first."},
	control.AddressInUse:        {400, "InvalidPrivateIpAddress.Duplicated", "The specified private IP address is in use."},
	control.NoAddressLeft:       {403, "InvalidVSwitchId.IpNotEnough", "The specified VSwitch has not enough IP addresses."},
	control.SessionExpired:      {400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired."},
	control.SessionRevoked:      {400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed."},
	control.PolicyTooLarge:      {400, "InvalidParameter.PolicyGrammar", "The parameter Policy is too large."},
	control.PolicyMalformed:     {400, "InvalidParameter.PolicyGrammar", "The parameter Policy has not passed grammar check."},
	control.AlarmNotFound:       {404, "ResourceNotFound", "The specified resource is not found."}, // of another API
	control.TooManyAlarms:       {402, "LimitExceeded", "The quota for this customer had been reached."},
	control.Unavailable:         {503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."},
}

// signatureStatus has the codes of a signature that are not 400.
var signatureStatus = map[string]int{
	alisign.UnsupportedHTTPMethod: http.StatusForbidden,
	alisign.UnknownAccessKey:      http.StatusNotFound,
	alisign.DisabledAccessKey:     http.StatusForbidden,
}

// toWire returns what the client gets to see of an error, and whether it was
// one that can be expected; any other is for the log.
func toWire(err error) (*wireError, bool) {
	if e, ok := errors.AsType[*wireError](err); ok {
		return e, true
	}
	if e, ok := errors.AsType[*alisign.Error](err); ok {
		status := signatureStatus[e.Code]
		if status == 0 {
			status = http.StatusBadRequest
		}
		return &wireError{status, e.Code, e.Message}, true
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		if e.Reason == control.Denied && e.Subject == "ram:PassRole" {
			return &wireError{http.StatusForbidden, "InvalidUser.PassRoleForbidden", "The RAM user does not have the privilege to pass a RAM role."}, true
		}
		if known, ok := reasons[e.Reason]; ok {
			known.message = strings.ReplaceAll(known.message, "%s", show(e.Subject))
			return &known, true
		}
	}
	switch fault.KindOf(err) {
	case fault.Conflict:
		return &wireError{http.StatusConflict, "OperationConflict", "The operation conflicts with another one; try again."}, true
	case fault.Unavailable:
		known := reasons[control.Unavailable]
		return &known, true
	}
	return &wireError{http.StatusInternalServerError, "InternalError", "The request processing has failed due to some unknown error."}, false
}

// isReason reports whether a use case refused for one of the given reasons.
func isReason(err error, reasons ...control.Reason) bool {
	e, ok := errors.AsType[*control.Error](err)
	return ok && slices.Contains(reasons, e.Reason)
}

func isUnauthenticated(err error) bool { return fault.KindOf(err) == fault.Unauthenticated }
