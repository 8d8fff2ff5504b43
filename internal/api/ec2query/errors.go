package ec2query

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// failure is an error as the client sees it.
type failure struct {
	status        int
	code, message string
}

// Error is for logs; the message may hold what the client sent.
func (f *failure) Error() string { return f.code + ": " + f.message }

func invalid(code, message string) *failure {
	return &failure{http.StatusBadRequest, code, message}
}

func missing(parameter string) *failure {
	return invalid("MissingParameter", "The request must contain the parameter "+parameter)
}

func badValue(parameter, value string) *failure {
	return invalid("InvalidParameterValue", "Value ("+clip(value)+") for parameter "+parameter+" is invalid.")
}

// badChoice is what EC2 says of a metadata option (EC2-API-04).
func badChoice(parameter, value, choices string) *failure {
	return invalid("InvalidParameterValue", "A value of '"+clip(value)+"' is not valid for "+parameter+". Specify "+choices+" and try again.")
}

// clip keeps messages short.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// tokensEnforcedText is what a launch with optional tokens is told where the
// account enforces required ones.
const tokensEnforcedText = "You can't launch instances with IMDSv1 because httpTokensEnforced is enabled for this account. " +
	"Either launch the instance with httpTokens=required or contact your account owner to disable httpTokensEnforced using the " +
	"ModifyInstanceMetadataDefaults API or the account settings in the EC2 console."

// shownTagText is what a tag key is told that cannot be a metadata item.
const shownTagText = `'%s' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')`

// wording is the code, the status (400 if it is 0) and the text of a reason. In
// the text, {s} is the subject and {d} the detail.
type wording struct {
	status     int
	code, text string
}

// wordings has a row for every reason for which a use case refuses. What
// depends on more than the reason is settled in word.
var wordings = map[control.Reason]wording{
	control.DryRun:              {http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."},
	control.Denied:              {http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation."},
	control.InstanceNotFound:    {0, "InvalidInstanceID.NotFound", "The instance ID '{s}' does not exist"},
	control.ImageNotFound:       {0, "InvalidAMIID.NotFound", "The image id '[{s}]' does not exist"},
	control.KeyPairNotFound:     {0, "InvalidKeyPair.NotFound", "The key pair '{s}' does not exist"},
	control.KeyPairExists:       {0, "InvalidKeyPair.Duplicate", "The keypair already exists"},
	control.KeyPairOnWindows:    {0, "InvalidParameterCombination", "The instance '{s}' cannot have a key pair."},
	control.RoleNotFound:        {0, "InvalidParameterValue", "Value ({s}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"},
	control.RoleAttached:        {0, "IncorrectState", "There is an existing association for instance {s}"},
	control.TemplateNotFound:    {0, "InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID {s}, does not exist."},
	control.TemplateExists:      {0, "InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use."},
	control.InterfaceNotFound:   {0, "InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '{s}' does not exist"},
	control.ImageExists:         {0, "InvalidAMIName.Duplicate", "AMI name {s} is already in use by AMI {d}"},
	control.InterfaceInUse:      {0, "InvalidNetworkInterface.InUse", "Network interface '{s}' is currently in use."},
	control.AttachmentNotFound:  {0, "InvalidAttachmentID.NotFound", "The attachment '{s}' does not exist."},
	control.PrimaryInterface:    {0, "OperationNotPermitted", "The network interface '{s}' at device index 0 cannot be detached."},
	control.PrimaryAddress:      {0, "InvalidParameterValue", "The primary private IP address {s} of network interface {d} cannot be unassigned."},
	control.AddressNotAssigned:  {0, "InvalidParameterValue", "Some of the specified addresses are not assigned to interface {d}: {s}"},
	control.DeviceInUse:         {0, "InvalidParameterValue", "Instance '{s}' already has an interface attached at device index '{d}'."},
	control.SubnetWithoutIPv6:   {0, "InvalidParameterValue", "The subnet '{s}' does not have an IPv6 CIDR block."},
	control.StopProtected:       {0, "OperationNotPermitted", "The instance '{s}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again."},
	control.SpotOnce:            {0, "UnsupportedOperation", "You can't stop the Spot Instance '{s}' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests."},
	control.HibernationOff:      {0, "UnsupportedHibernationConfiguration", "The instance '{s}' is not configured for hibernation."},
	control.ResourceNotFound:    {0, "InvalidID", "The ID '{s}' is not valid"},
	control.AssociationNotFound: {0, "InvalidAssociationID.NotFound", "An invalid association-id of '{s}' was given"},
	control.IncorrectState:      {0, "IncorrectInstanceState", "The instance '{s}' is not in a state that permits this operation: it is {d}."},
	control.DeletionProtected:   {0, "OperationNotPermitted", "The instance '{s}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again."},
	control.InvalidValue:        {0, "InvalidParameterValue", "Value ({d}) for parameter {s} is invalid."},
	control.MissingValue:        {0, "MissingParameter", "The request must contain the parameter {s}"},
	control.InvalidTagKey:       {0, "InvalidParameterValue", "Value ( {s} ) for parameter key is invalid. Tag keys must have 1 to 127 characters and must not start with 'aws:', which is reserved for internal use"},
	control.TooManyTags:         {0, "TagLimitExceeded", "The maximum number of Tags for a resource has been reached."},
	control.TokensEnforced:      {0, "UnsupportedOperation", tokensEnforcedText},
	control.ImageWithoutSupport: {0, "UnsupportedOperation", "The image '{s}' does not support the requested metadata options."},
	control.WindowsWithTokens:   {0, "UnsupportedOperation", "The image '{s}' does not support the requested metadata options."},
	control.SupportIrreversible: {0, "OperationNotPermitted", "The imdsSupport attribute of image '{s}' cannot be taken back."},
	control.UserDataTooLarge:    {0, "InvalidParameterValue", "User data is limited to 16384 bytes"},
	control.IdempotencyMismatch: {0, "IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."},
	control.AddressInUse:        {0, "InvalidIPAddress.InUse", "Address {s} is in use."},
	control.NoAddressLeft:       {0, "InsufficientFreeAddressesInSubnet", "There are not enough free addresses in {s} to satisfy the request."},
	control.SessionExpired:      {0, "RequestExpired", "Request has expired."},
	control.SessionRevoked:      {http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"},
	control.PolicyTooLarge:      {0, "PackedPolicyTooLarge", "The policy is too large."},
	control.PolicyMalformed:     {0, "MalformedPolicyDocument", "The policy is not in the correct format."},
	control.AlarmNotFound:       {0, "ResourceNotFound", "The alarm '{s}' does not exist"}, // of another API
	control.TooManyAlarms:       {0, "LimitExceeded", "The quota for alarms has been reached."},
	control.Unavailable:         {http.StatusServiceUnavailable, "Unavailable", "The service is unavailable. Please try again shortly."},
}

// unfound are the codes for ids of resources, by their prefix.
var unfound = map[string]wording{
	"i-":      wordings[control.InstanceNotFound],
	"ami-":    wordings[control.ImageNotFound],
	"lt-":     wordings[control.TemplateNotFound],
	"eni-":    wordings[control.InterfaceNotFound],
	"vol-":    {0, "InvalidVolume.NotFound", "The volume '{s}' does not exist."},
	"subnet-": {0, "InvalidSubnetID.NotFound", "The subnet ID '{s}' does not exist"},
	"sg-":     {0, "InvalidGroup.NotFound", "The security group '{s}' does not exist"},
}

// word puts the refusal of a use case into the vendor's words.
func word(e *control.Error, requestID string) *failure {
	w, ok := wordings[e.Reason]
	if !ok {
		w = wording{http.StatusInternalServerError, "InternalError", internalText}
	}
	switch {
	case e.Reason == control.ResourceNotFound:
		kind, _, _ := strings.Cut(e.Subject, "-")
		if known, ok := unfound[kind+"-"]; ok {
			w = known
		}
	case e.Reason == control.TemplateNotFound && !strings.HasPrefix(e.Subject, "lt-"):
		w = wording{0, "InvalidLaunchTemplateName.NotFoundException", "At least one of the launch templates specified in the request does not exist."}
	case e.Reason == control.TemplateNotFound && e.Detail != "":
		w = wording{0, "InvalidLaunchTemplateId.VersionNotFound", "Could not find launch template version {d} of {s}"}
	case e.Reason == control.InvalidValue && e.Subject == "address":
		w.text = "Address {d} does not fall within the subnet's address range"
	case e.Reason == control.InvalidTagKey && e.Detail == "shown":
		w.text = strings.Replace(shownTagText, "%s", "{s}", 1)
	case e.Reason == control.Denied:
		// The blob is opaque to clients: it names the entry of the audit log.
		w.text += " Encoded authorization failure message: " + base64.RawURLEncoding.EncodeToString([]byte(e.Subject+" "+requestID))
	}
	if w.status == 0 {
		w.status = http.StatusBadRequest
	}
	text := strings.NewReplacer("{s}", clip(e.Subject), "{d}", clip(e.Detail)).Replace(w.text)
	return &failure{w.status, w.code, text}
}

const internalText = "An internal error has occurred"

// signatures are the statuses of what package sigv4 refuses, and the codes
// that EC2 has for them.
var signatures = map[string]wording{
	sigv4.MissingAuthenticationToken: {http.StatusForbidden, "MissingAuthenticationToken", ""},
	sigv4.IncompleteSignature:        {http.StatusBadRequest, "IncompleteSignature", ""},
	sigv4.MalformedQueryString:       {http.StatusBadRequest, "MalformedQueryString", ""},
	sigv4.RequestExpired:             {http.StatusBadRequest, "RequestExpired", ""},
	sigv4.InvalidClientTokenID:       {http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"},
	sigv4.ExpiredToken:               {http.StatusBadRequest, "RequestExpired", ""},
	sigv4.SignatureDoesNotMatch:      {http.StatusForbidden, "SignatureDoesNotMatch", ""},
}

// explain turns any error into what the client is told, and logs what it is
// not.
func (h *handler) explain(r *http.Request, err error, requestID string) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return word(e, requestID)
	}
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		w := signatures[e.Code]
		if w.text == "" {
			w.text = e.Message
		}
		return &failure{w.status, w.code, w.text}
	}
	switch fault.KindOf(err) {
	case fault.Conflict, fault.Unavailable:
		h.cfg.Logger.WarnContext(r.Context(), "an EC2 API call could not be done now", "request", requestID, "err", err)
		return word(&control.Error{Reason: control.Unavailable}, requestID)
	}
	if r.Context().Err() == nil {
		h.cfg.Logger.ErrorContext(r.Context(), "an EC2 API call went wrong", "request", requestID, "err", err)
	}
	return &failure{http.StatusInternalServerError, "InternalError", internalText}
}

// malformed is what an id is told that cannot be one.
func malformed(code, id, prefix string) *failure {
	return invalid(code, fmt.Sprintf("Invalid id: \"%s\" (expecting \"%s...\")", clip(id), prefix))
}
